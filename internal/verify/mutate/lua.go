package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// swap is a change of text: what stands there, and what may stand there instead.
type swap struct {
	from *regexp.Regexp
	to   []string
}

// luaSwaps are changes of a line of Lua; each match in code is a mutant.
var luaSwaps = []swap{
	{regexp.MustCompile(` < `), []string{` >= `, ` <= `}}, {regexp.MustCompile(` <= `), []string{` > `, ` < `}},
	{regexp.MustCompile(` > `), []string{` <= `, ` >= `}}, {regexp.MustCompile(` >= `), []string{` < `, ` > `}},
	{regexp.MustCompile(` == `), []string{` ~= `}}, {regexp.MustCompile(` ~= `), []string{` == `}},
	{regexp.MustCompile(` \+ `), []string{` - `}}, {regexp.MustCompile(` - `), []string{` + `}},
	{regexp.MustCompile(` \* `), []string{` / `}}, {regexp.MustCompile(` / `), []string{` * `}},
	{regexp.MustCompile(` and `), []string{` or `}}, {regexp.MustCompile(` or `), []string{` and `}},
	{regexp.MustCompile(`\bmin\(`), []string{`max(`}}, {regexp.MustCompile(`\bmax\(`), []string{`min(`}},
	{regexp.MustCompile(`\bnot `), []string{``}},
}

var (
	luaNumber     = regexp.MustCompile(`\b\d+\b`)
	luaConstant   = regexp.MustCompile(`^\s*local [A-Z]`)
	luaAssignment = regexp.MustCompile(`^\s*[a-zA-Z_][\w.\[\]+-]*(, [a-zA-Z_][\w.\[\]+-]*)* = [^{]*$`)
)

func luaMutants(p place) ([]mutant, error) {
	var all []mutant
	for _, glob := range p.files {
		files, err := filepath.Glob(filepath.Join(p.pkg, glob))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no file matches %s (run from the module's root): %w", glob, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			all = append(all, luaMutantsOf(strings.TrimPrefix(file, p.pkg+"/"), string(text))...)
		}
	}
	for i := range all {
		all[i].id = i + 1
	}
	return all, nil
}

func luaMutantsOf(file, text string) []mutant {
	var all []mutant
	offset := 0
	for i, line := range strings.SplitAfter(text, "\n") {
		code, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "--")
		again := map[string]int{} // so that an explanation can tell changes of a line apart
		add := func(from, to int, with, what string) {
			if again[what]++; again[what] > 1 {
				what = fmt.Sprintf("%s (no. %d)", what, again[what])
			}
			all = append(all, mutant{
				file: file, line: i + 1, change: fmt.Sprintf("%s in `%s`", what, short(code)),
				text: text[:offset+from] + with + text[offset+to:],
			})
		}
		if luaConstant.MatchString(code) { // formats and sizes: the tests quote them
			offset += len(line)
			continue
		}
		for _, s := range luaSwaps {
			for _, at := range s.from.FindAllStringIndex(code, -1) {
				for _, to := range s.to {
					add(at[0], at[1], to, fmt.Sprintf("`%s` for `%s`", strings.TrimSpace(to), strings.TrimSpace(code[at[0]:at[1]])))
				}
			}
		}
		for _, at := range luaNumber.FindAllStringIndex(code, -1) {
			if strings.Count(code[:at[0]], "'")%2 == 1 {
				continue // in a string
			}
			if n, err := strconv.Atoi(code[at[0]:at[1]]); err == nil {
				add(at[0], at[1], strconv.Itoa(n+1), fmt.Sprintf("`%d` for `%d`", n+1, n))
			}
		}
		if luaAssignment.MatchString(code) && strings.Count(code, "(") == strings.Count(code, ")") {
			add(0, len(code), "", "nothing")
		}
		offset += len(line)
	}
	return all
}

func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 80 {
		s = s[:77] + "..."
	}
	return s
}
