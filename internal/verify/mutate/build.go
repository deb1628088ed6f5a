package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// selector is added to a package of Go: it says which mutant the program is.
const selector = `package %s

import (
	"os"
	"strconv"
)

var mutantOfThrottle, _ = strconv.Atoi(os.Getenv("THROTTLE_MUTANT"))
`

// scriptSelector is added to the script's package, and readsScript in it becomes a call of it: it reads the script's files
// from a folder.
const scriptSelector = `package redisscript

import "os"

func readMutant(name string) ([]byte, error) {
	if dir := os.Getenv("THROTTLE_MUTANT_LUA"); dir != "" {
		return os.ReadFile(dir + "/" + name + ".lua")
	}
	return files.ReadFile("lua/" + name + ".lua")
}
`

const (
	scriptReader = "script.go"
	readsScript  = `files.ReadFile("lua/" + name + ".lua")`
)

// build makes the programs of a place's tests, unless only its mutants are wanted.
func build(p place, dir string, listOnly bool) (*built, error) {
	b := &built{place: p, dir: dir, programs: map[string]string{}}
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	replace := map[string]string{}
	add := func(original, text string) error {
		path := filepath.Join(dir, filepath.Base(original))
		replace[filepath.Join(root, original)] = path
		return os.WriteFile(path, []byte(text), 0o600)
	}
	if strings.HasSuffix(p.files[0], ".lua") {
		if b.mutants, err = luaMutants(p); err != nil {
			return nil, err
		}
		reader, err := os.ReadFile(filepath.Join(p.pkg, scriptReader))
		if err != nil {
			return nil, err
		}
		if strings.Count(string(reader), readsScript) != 1 {
			return nil, fmt.Errorf("%s doesn't read the script by %s", scriptReader, readsScript)
		}
		if err := add(filepath.Join(p.pkg, scriptReader), strings.Replace(string(reader), readsScript, "readMutant(name)", 1)); err != nil {
			return nil, err
		}
		if err := add(filepath.Join(p.pkg, "mutant_selector.go"), scriptSelector); err != nil {
			return nil, err
		}
	} else {
		var files map[string]string
		var name string
		if b.mutants, files, name, err = goMutants(p); err != nil {
			return nil, err
		}
		for file, text := range files {
			if err := add(filepath.Join(p.pkg, file), text); err != nil {
				return nil, err
			}
		}
		if err := add(filepath.Join(p.pkg, "mutant_selector.go"), fmt.Sprintf(selector, name)); err != nil {
			return nil, err
		}
	}
	if listOnly {
		return b, nil
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o600); err != nil {
		return nil, err
	}
	for _, t := range p.tests {
		if b.programs[t.pkg] != "" {
			continue
		}
		program := filepath.Join(dir, strings.ReplaceAll(filepath.Join("p", t.pkg), "/", "_")+".test")
		out, err := exec.Command("go", "test", "-c", "-vet=off", "-overlay", overlayFile, "-o", program, "./"+t.pkg).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("build the tests of %s: %w\n%s", t.pkg, err, out)
		}
		b.programs[t.pkg] = program
	}
	return b, nil
}

// scriptOf writes a mutant of the script to a folder of its own.
func (b *built) scriptOf(m mutant) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "lua-")
	if err != nil {
		return "", err
	}
	from := filepath.Join(b.place.pkg, filepath.Dir(m.file))
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, filepath.Base(m.file)), []byte(m.text), 0o600)
}
