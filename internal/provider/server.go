package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server is a [Provider] that listens on a port of its own.
type Server struct {
	*Provider
	// URL is where it listens, without a path: "http://127.0.0.1:4321".
	URL string

	http   *http.Server
	roots  *x509.CertPool // nil without TLS
	cancel context.CancelFunc
	served chan error // what Serve returned
	conns  connections

	closeOnce sync.Once
	closeErr  error
}

// grace is how long Close lets requests finish before it cuts them off.
const grace = 2 * time.Second

// Start serves cfg over HTTP/1.1 on a free port of 127.0.0.1.
func Start(cfg Config) (*Server, error) { return start(cfg, nil, nil) }

// StartTLS is like [Start] with TLS and HTTP/2; [Server.Client] trusts its certificate.
func StartTLS(cfg Config) (*Server, error) {
	cert, roots, err := selfSigned()
	if err != nil {
		return nil, fmt.Errorf("provider: make a certificate: %w", err)
	}
	return start(cfg, &tls.Config{Certificates: []tls.Certificate{cert}}, roots)
}

func start(cfg Config, tlsConfig *tls.Config, roots *x509.CertPool) (*Server, error) {
	p, err := New(cfg)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("provider: listen: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		Provider: p, URL: "http://" + listener.Addr().String(), roots: roots, cancel: cancel, served: make(chan error, 1),
	}
	s.http = &http.Server{
		Handler:           p,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnState:         s.conns.track,
	}
	serve := func() error { return s.http.Serve(listener) }
	if tlsConfig != nil {
		s.URL = "https://" + listener.Addr().String()
		serve = func() error { return s.http.ServeTLS(listener, "", "") }
	}
	go func() { s.served <- serve() }()
	return s, nil
}

// Client is a new client that trusts this server and keeps as many idle connections as there were at once. The caller
// owns it: CloseIdleConnections ends them.
func (s *Server) Client() *http.Client {
	t := &http.Transport{MaxIdleConnsPerHost: 4096, IdleConnTimeout: time.Minute}
	if s.roots != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: s.roots}
		t.ForceAttemptHTTP2 = true
	}
	return &http.Client{Transport: t}
}

// Close stops listening, lets running requests finish for two seconds, cuts off the rest and returns when nothing of
// the server runs any more. Closing again returns the same.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.shutdown() })
	return s.closeErr
}

func (s *Server) shutdown() error {
	// Shutdown would also wait for connections that clients opened and never used. So it only stops listening here.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.http.Shutdown(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("provider: stop listening: %w", err)
	}
	served := <-s.served
	s.conns.wait(func() bool { return s.conns.in(http.StateActive) == 0 }, time.After(grace))
	s.cancel()
	err := s.http.Close()
	s.conns.wait(func() bool { return len(s.conns.states) == 0 }, nil)
	if errors.Is(served, http.ErrServerClosed) {
		served = nil
	}
	return errors.Join(err, served)
}
