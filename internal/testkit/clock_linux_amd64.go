package testkit

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// How one process gets a clock of its own.
//
// A program asks for the time by calling the vDSO, a small library that the kernel maps into each process: Go's runtime, the race
// detector's and glibc do, and look it up once, at their start. Its pages are private: written through /proc/PID/mem, as a debugger
// sets a breakpoint, they are copied, and no other process sees it. So the process is stopped, a few instructions are put behind the end
// of the vDSO's code, in what is left of its last page, and the entries of the functions that tell the wall clock jump there: they make
// the system call and add seconds to what it gives, for the wall clock only. A later jump changes the seconds.
//
// Why not settimeofday: that hits the whole machine, where other tests and other people's work run. Why not a time namespace: it moves
// the monotonic clocks and leaves the wall clock. Why not LD_PRELOAD: nothing is preloaded to a program without libc.
//
// Limits. What asks the kernel itself is not deceived: a system call that is written out, the times of files, timers of the kernel that
// end at a wall clock's time. A program that is started later has a vDSO of its own, and the true time. The clock costs a system call
// per question (some 100 ns more). clock_gettime's coarse and TAI clocks are left as they are: Go uses neither.

const jumps = true

// telling are the vDSO's functions that tell the wall clock. Each stub is a system call and, unless its test is against it, an addition to
// the seconds that it gave; its last but one instruction ends with the seconds, 32 bits.
var telling = []struct {
	name string
	stub []byte
}{
	{"__vdso_clock_gettime", []byte{
		0xb8, 228, 0, 0, 0, // mov eax, clock_gettime
		0x0f, 0x05, // syscall (of an address that is not ours it makes an error, as the vDSO's fallback does)
		0x85, 0xc0, 0x75, 0x0b, // test eax, eax; jnz ret
		0x85, 0xff, 0x75, 0x07, // test edi, edi; jnz ret: not CLOCK_REALTIME
		0x48, 0x81, 0x06, 0, 0, 0, 0, // add qword [rsi], seconds
		0xc3, // ret
	}},
	{"__vdso_gettimeofday", []byte{
		0xb8, 96, 0, 0, 0, // mov eax, gettimeofday
		0x0f, 0x05, // syscall
		0x85, 0xc0, 0x75, 0x0c, // test eax, eax; jnz ret
		0x48, 0x85, 0xff, 0x74, 0x07, // test rdi, rdi; jz ret: only the zone was asked for
		0x48, 0x81, 0x07, 0, 0, 0, 0, // add qword [rdi], seconds
		0xc3, // ret
	}},
}

const (
	jumpSize = 5 // of a jmp to a 32-bit distance
	tailSize = 5 // a stub's seconds and its ret
	stubRoom = 32
	stopping = 5 * time.Second
)

// vdso is a process's.
type vdso struct {
	pid   int
	mem   *os.File // its memory; addresses are offsets
	begin uint64
	image []byte
}

func openVDSO(pid int) (*vdso, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.HasSuffix(strings.TrimSpace(line), "[vdso]") {
			continue
		}
		v := &vdso{pid: pid}
		var end uint64
		if _, err := fmt.Sscanf(line, "%x-%x", &v.begin, &end); err != nil {
			return nil, err
		}
		if v.mem, err = os.OpenFile(fmt.Sprintf("/proc/%d/mem", pid), os.O_RDWR, 0); err != nil {
			return nil, err
		}
		v.image = make([]byte, end-v.begin)
		if _, err := v.mem.ReadAt(v.image, int64(v.begin)); err != nil {
			return nil, errors.Join(err, v.mem.Close())
		}
		return v, nil
	}
	return nil, errors.New("the process has no vDSO")
}

// plan says where what is to be written: the addresses of the entries and of the stubs, as offsets into the image.
func (v *vdso) plan() (entries, stubs []uint64, err error) {
	file, err := elf.NewFile(bytes.NewReader(v.image))
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		return nil, nil, err
	}
	room := len(v.image) - len(telling)*stubRoom
	for i := range telling {
		at := uint64(0)
		for _, s := range symbols {
			if s.Name == telling[i].name && s.Size >= jumpSize {
				at = s.Value
			}
		}
		if at == 0 || at+jumpSize > uint64(room) {
			return nil, nil, fmt.Errorf("this kernel's vDSO has no %s", telling[i].name)
		}
		entries, stubs = append(entries, at), append(stubs, uint64(room+i*stubRoom))
	}
	return entries, stubs, nil
}

// seconds is by how much the process's clock is moved, 0 where it never was. Room that is not empty and not ours is an error.
func (v *vdso) seconds(stubs []uint64) (n int64, moved bool, err error) {
	for i, at := range stubs {
		want, got := telling[i].stub, v.image[at:at+stubRoom]
		head := len(want) - tailSize
		switch {
		case bytes.Equal(got, make([]byte, stubRoom)):
		case bytes.Equal(got[:head], want[:head]):
			n, moved = int64(int32(binary.LittleEndian.Uint32(got[head:]))), true
		default:
			return 0, false, errors.New("this kernel's vDSO leaves no room at its end")
		}
	}
	return n, moved, nil
}

// write moves the clock of a process that stands still.
func (v *vdso) write(n int64, entries, stubs []uint64) error {
	if int64(int32(n)) != n {
		return fmt.Errorf("a clock that is %d seconds off; 68 years are the most", n)
	}
	for i := range telling {
		code := bytes.Clone(telling[i].stub)
		binary.LittleEndian.PutUint32(code[len(code)-tailSize:], uint32(int32(n)))
		if _, err := v.mem.WriteAt(code, int64(v.begin+stubs[i])); err != nil {
			return err
		}
		branch := binary.LittleEndian.AppendUint32([]byte{0xe9}, uint32(int32(int64(stubs[i])-int64(entries[i])-jumpSize))) // jmp
		if _, err := v.mem.WriteAt(branch, int64(v.begin+entries[i])); err != nil {
			return err
		}
	}
	return nil
}

// jump moves the wall clock of one process.
func jump(pid int, d time.Duration) error {
	return move(pid, func(n int64) int64 { return n + int64(d/time.Second) })
}

// follow gives a process the clock of another.
func follow(pid, leader int) error {
	v, err := openVDSO(leader)
	if err != nil {
		return err
	}
	defer v.mem.Close()
	_, stubs, err := v.plan()
	if err != nil {
		return err
	}
	n, _, err := v.seconds(stubs)
	if err != nil {
		return err
	}
	return move(pid, func(int64) int64 { return n })
}

func move(pid int, change func(int64) int64) (err error) {
	for end := time.Now().Add(stopping); ; {
		done, err := attempt(pid, change)
		if err != nil || done {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("its threads did not stand still, or not outside its vDSO, within %v", stopping)
		}
	}
}

// attempt stops the process, and moves its clock unless a thread is in what would be changed.
func attempt(pid int, change func(int64) int64) (done bool, err error) {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, syscall.Kill(pid, syscall.SIGCONT)) }()
	v, err := openVDSO(pid)
	if err != nil {
		return false, err
	}
	defer v.mem.Close()
	entries, stubs, err := v.plan()
	if err != nil {
		return false, err
	}
	n, _, err := v.seconds(stubs)
	if err != nil {
		return false, err
	}
	for end := time.Now().Add(stopping / 10); ; time.Sleep(time.Millisecond) {
		stopped, free, err := v.still()
		if err != nil || stopped && !free {
			return false, err
		}
		if stopped {
			break
		}
		if time.Now().After(end) {
			return false, nil
		}
	}
	return true, v.write(change(n), entries, stubs)
}

// still says whether all threads stand still, and none of them in the vDSO: one that stood at the second byte of an entry would go on in
// the middle of an instruction.
func (v *vdso) still() (stopped, free bool, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", v.pid))
	if err != nil || len(tasks) == 0 {
		return false, false, errors.Join(err, fmt.Errorf("process %d is not there", v.pid))
	}
	free = true
	for _, task := range tasks {
		status, err := os.ReadFile(filepath.Join(task, "stat"))
		if err != nil {
			return false, false, nil // the thread ended just now
		}
		_, state, _ := strings.Cut(string(status[max(0, bytes.LastIndexByte(status, ')')):]), " ")
		switch state[:1] {
		case "Z", "X":
			continue
		case "T", "t":
		default:
			return false, false, nil
		}
		at, err := counter(filepath.Join(task, "syscall"))
		if err != nil {
			return false, false, err
		}
		if at >= v.begin && at < v.begin+uint64(len(v.image)) {
			free = false
		}
	}
	return true, free, nil
}

// counter is a stopped thread's program counter, the last number of its line.
func counter(file string) (uint64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	raw, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	words := strings.Fields(string(raw))
	if len(words) < 3 {
		return 0, fmt.Errorf("%s says %q", file, raw)
	}
	return strconv.ParseUint(words[len(words)-1], 0, 64)
}
