package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
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
	served chan error     // what Serve returned
	conns  sync.WaitGroup // open connections

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
		ConnState:         s.track,
	}
	serve := func() error { return s.http.Serve(listener) }
	if tlsConfig != nil {
		s.URL = "https://" + listener.Addr().String()
		serve = func() error { return s.http.ServeTLS(listener, "", "") }
	}
	go func() { s.served <- serve() }()
	return s, nil
}

// track counts connections, so that Close returns when the last is gone.
func (s *Server) track(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.conns.Add(1)
	case http.StateClosed, http.StateHijacked:
		s.conns.Done()
	}
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
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	err := s.http.Shutdown(ctx)
	s.cancel()
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close()
	}
	s.conns.Wait()
	if served := <-s.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// selfSigned makes a certificate for 127.0.0.1 that lasts a day, and a pool that trusts it.
func selfSigned() (tls.Certificate, *x509.CertPool, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(now.UnixNano()),
		Subject:               pkix.Name{CommonName: "simulated provider"},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots, nil
}
