// Package hostile fuzzes what comes from outside and passes through several packages: the URLs of every driver, and a
// provider's answers on their way through a transport.
package hostile
