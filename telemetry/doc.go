// Package telemetry is what an operator sees of the server: Prometheus metrics (Serval's own names and Triton's), the log
// with one line for each request, and OpenTelemetry traces. Every name that dashboards rely on stands in name.go.
//
// Made by server, which hands it to gateway as its Observer. It imports the root, Prometheus' client, OpenTelemetry's SDK
// and exporters.
package telemetry
