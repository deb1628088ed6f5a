package testservice

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// containerTimeout bounds the building of the starter and the download of an image.
const containerTimeout = 5 * time.Minute

// startContainer runs a service in Docker, where that answers. The code that does so is a module of its own, in the
// folder container: Docker's client library and its many requirements then never reach who uses this module, not even as
// a line in go.mod. It prints the service's URL and ends the container when its standard input ends, so the container
// can't outlive the tests.
func startContainer(service string, ping func(url string) error) (url string, stop func(), err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("docker version: %w: %s", err, strings.TrimSpace(string(out)))
	}
	root, err := moduleRoot()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command("go", "run", ".", service)
	cmd.Dir = filepath.Join(root, "internal", "testservice", "container")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		stdin.Close()
		cmd.Wait()
	}
	overdue := time.AfterFunc(containerTimeout, func() { cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	overdue.Stop()
	if err != nil {
		stop()
		if errors.Is(err, io.EOF) {
			err = errors.New("the container's starter failed")
		}
		return "", nil, err
	}
	url = strings.TrimSpace(line)
	if err := eventually("answer", func() error { return ping(url) }); err != nil {
		stop()
		return "", nil, err
	}
	return url, stop, nil
}

// moduleRoot returns the folder of go.mod above the working directory, which is that of the package under test.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "internal", "testservice", "container", "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("not below the module's root")
		}
		dir = parent
	}
}
