// Package postgres keeps Serval's own state in a PostgreSQL database, so that several servers share it. What is in the tables is
// store/table's; they lie in the schema "serval", unless the URL names another one by search_path.
//
// Opened by server, which hands it to those whose narrow interfaces it implements. It imports store/table.
package postgres
