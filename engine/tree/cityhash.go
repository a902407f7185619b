package tree

import (
	"encoding/binary"
	"math/bits"
)

// categoryHash is what CatBoost knows a category by: the lower half of CityHash64 (Pike and Alakuijala, version 1.0) of its
// text. The constants are the hash's definition.
func categoryHash(s []byte) int32 { return int32(uint32(cityHash(s))) }

const (
	city0 = 0xc3a5c85c97cb3127
	city1 = 0xb492b66fbe98f273
	city2 = 0x9ae16a3b2f90404f
	city3 = 0xc949d7c7509e6557
)

func cityWord(s []byte, at int) uint64  { return binary.LittleEndian.Uint64(s[at:]) }
func cityHalf(s []byte, at int) uint64  { return uint64(binary.LittleEndian.Uint32(s[at:])) }
func cityRight(v uint64, by int) uint64 { return bits.RotateLeft64(v, -by) }
func cityFold(v uint64) uint64          { return v ^ v>>47 }

// pair hashes two words into one.
func cityPair(u, v uint64) uint64 {
	const m = 0x9ddfea08eb382d69
	a := cityFold((u ^ v) * m)
	return cityFold((v^a)*m) * m
}

func cityHash(s []byte) uint64 {
	n := len(s)
	size := uint64(n)
	switch {
	case n == 0:
		return city2
	case n < 4:
		y := uint32(s[0]) + uint32(s[n/2])<<8
		z := uint32(n) + uint32(s[n-1])<<2
		return cityFold(uint64(y)*city2^uint64(z)*city3) * city2
	case n <= 8:
		return cityPair(size+cityHalf(s, 0)<<3, cityHalf(s, n-4))
	case n <= 16:
		a, b := cityWord(s, 0), cityWord(s, n-8)
		return cityPair(a, cityRight(b+size, n)) ^ b
	case n <= 32:
		a, b, c, d := cityWord(s, 0)*city1, cityWord(s, 8), cityWord(s, n-8)*city2, cityWord(s, n-16)*city0
		return cityPair(cityRight(a-b, 43)+cityRight(c, 30)+d, a+cityRight(b^city3, 20)-c+size)
	case n <= 64:
		return city33to64(s)
	}
	return cityLong(s)
}

func city33to64(s []byte) uint64 {
	n := len(s)
	half := func(a, z, w1, w2 uint64) (uint64, uint64) {
		b, c := cityRight(a+z, 52), cityRight(a, 37)
		a += w1
		c += cityRight(a, 7)
		a += w2
		return a + z, b + cityRight(a, 31) + c
	}
	v1, v2 := half(cityWord(s, 0)+(uint64(n)+cityWord(s, n-16))*city0, cityWord(s, 24), cityWord(s, 8), cityWord(s, 16))
	w1, w2 := half(cityWord(s, 16)+cityWord(s, n-32), cityWord(s, n-8), cityWord(s, n-24), cityWord(s, n-16))
	return cityFold(cityFold((v1+w2)*city2+(w1+v2)*city0)*city0+v2) * city2
}

// cityLong hashes more than 64 bytes: its state is five words, fed by 64 bytes at a time.
func cityLong(s []byte) uint64 {
	n := len(s)
	mix := func(at int, a, b uint64) (uint64, uint64) { // 32 bytes and two seeds
		a += cityWord(s, at)
		b = cityRight(b+a+cityWord(s, at+24), 21)
		c := a
		a += cityWord(s, at+8) + cityWord(s, at+16)
		b += cityRight(a, 44)
		return a + cityWord(s, at+24), b + c
	}
	x, y, z := cityWord(s, 0), cityWord(s, n-16)^city1, cityWord(s, n-56)^city0
	v1, v2 := mix(n-64, uint64(n), y)
	w1, w2 := mix(n-32, uint64(n)*city1, city0)
	z += cityFold(v2) * city1
	x = cityRight(z+x, 39) * city1
	y = cityRight(y, 33) * city1
	for at := 0; at < (n-1)&^63; at += 64 {
		x = cityRight(x+y+v1+cityWord(s, at+16), 37) * city1
		y = cityRight(y+v2+cityWord(s, at+48), 42) * city1
		x ^= w2
		y ^= v1
		z = cityRight(z^w1, 33)
		v1, v2 = mix(at, v2*city1, x+w1)
		w1, w2 = mix(at+32, z+w2, y)
		z, x = x, z
	}
	return cityPair(cityPair(v1, w1)+cityFold(y)*city1+z, cityPair(v2, w2)+x)
}
