// Package parquet reads and writes Parquet files: column by column and page by page, straight into the vectors of a block, in
// bounded memory whatever a file claims. Called through batch.Format; it imports batch and the shared parts.
//
// Source of all that is on the wire: the Apache Parquet format, https://parquet.apache.org/docs/file-format/, parquet.thrift
// 2.11, and Encodings.md.
package parquet
