package main

import (
	"runtime/debug"
	"strings"
)

// version is the module's, as the go command stamped it, with the commit for a build from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if v == "" || v == "(devel)" {
		v = "devel"
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if commit := settings["vcs.revision"]; len(commit) >= 12 && !strings.Contains(v, commit[:12]) {
		v += " (" + commit[:12] + ")"
	}
	return v + " " + info.GoVersion
}
