// Package column is what the formats that keep data by columns (Parquet, Arrow) share: Source says how a file keeps a column's
// values and converts them to the type that is asked for, Table lays the pages of several columns together as blocks of rows,
// and Pending holds the rows that a writer was given until there are enough of them, in a journal that survives a kill.
// Used by the folders below batch; it imports batch and the root.
package column
