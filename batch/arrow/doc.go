// Package arrow reads and writes Arrow's IPC files (also called Feather) and streams. It reads only the buffers of the columns
// that are asked for, and these piece by piece where they are not packed. Called through batch.Format; it imports batch and the
// shared parts.
//
// Source of all that is on the wire: the Arrow columnar format 1.5, https://arrow.apache.org/docs/format/Columnar.html, with its
// Message.fbs, Schema.fbs and File.fbs, and the FlatBuffers binary format.
package arrow
