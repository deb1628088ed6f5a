// Package llm holds what the packages for the providers share: reading JSON and event streams piece by piece, and
// learning how much output a model family really produces.
//
// Everything here reads input that a stranger wrote (a prompt, a server's answer), so everything is bounded: memory does
// not grow with the input, nesting is limited, time is linear, and what cannot be understood is reported, never guessed
// at by a panic.
package llm
