// Package files is the target that writes messages to files and object stores: Parquet or JSON lines. It gathers messages (it is
// a stream.Deferred), and puts them into one file for each partition of the source and each folder that the path names: when
// enough time has passed, when enough is there, or when the worker asks. A file appears whole, by a rename or one upload, and a
// message is acked after that; a kill leaves no half file, and what it left in the folder for files in the making is removed.
//
// A file's name has the first and the last position in it. What comes again after a crash is written again under the same name
// where the files are cut at the same places, and else under one whose range overlaps; the columns _topic, _partition and _offset,
// or _id, tell rows apart.
//
// target.go gathers and flushes, row.go takes values apart, parquet.go and lines.go write, path.go names folders and files.
//
// Called through stream/all. It imports stream, and of the batch jobs' packages the Parquet writer and the places: files, S3, Google's and Azure's stores.
package files
