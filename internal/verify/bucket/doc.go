// Package bucket verifies the arithmetic with what its users must not inherit: properties drawn by rapid, and an oracle
// that knows no rounding.
package bucket
