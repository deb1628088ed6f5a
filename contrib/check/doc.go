// Package check runs the queries of contrib's dashboard and alert rules in Prometheus's own engine, over what a real
// registry exported of a limiter. It is a module of its own, so that nobody else inherits Prometheus.
package check
