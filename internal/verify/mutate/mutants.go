package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// mutant is a file with one change.
type mutant struct {
	file, change, text string
	line               int
}

// mutantsOf lists every mutant of a target's files.
func mutantsOf(t target) ([]mutant, error) {
	var all []mutant
	for _, glob := range t.files {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no file matches %s (run from the module's root): %w", glob, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			if strings.HasSuffix(file, ".lua") {
				all = append(all, luaMutants(file, string(text))...)
				continue
			}
			list, err := goMutants(file, string(text))
			if err != nil {
				return nil, err
			}
			all = append(all, list...)
		}
	}
	return all, nil
}

// swaps are the operators that are put for each other.
var swaps = map[token.Token]token.Token{
	token.LSS: token.GEQ, token.GEQ: token.LSS, token.GTR: token.LEQ, token.LEQ: token.GTR,
	token.EQL: token.NEQ, token.NEQ: token.EQL, token.ADD: token.SUB, token.SUB: token.ADD,
	token.MUL: token.QUO, token.QUO: token.MUL, token.LAND: token.LOR, token.LOR: token.LAND,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN,
	token.INC: token.DEC, token.DEC: token.INC,
}

// calls are functions that are put for each other.
var calls = map[string]string{"min": "max", "max": "min"}

func goMutants(file, text string) ([]mutant, error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, 0)
	if err != nil {
		return nil, err
	}
	var all []mutant
	replace := func(from, to token.Pos, with, change string) {
		a, b := set.Position(from), set.Position(to)
		all = append(all, mutant{file: file, line: a.Line, change: change, text: text[:a.Offset] + with + text[b.Offset:]})
	}
	source := func(n ast.Node) string {
		return text[set.Position(n.Pos()).Offset:set.Position(n.End()).Offset]
	}
	operator := func(at token.Pos, op token.Token, where ast.Node) {
		if other, ok := swaps[op]; ok {
			replace(at, at+token.Pos(len(op.String())), other.String(), fmt.Sprintf("%s for %s in %s", other, op, short(source(where))))
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GenDecl:
			return false // constants and types: the tests quote them
		case *ast.BinaryExpr:
			if lit, ok := n.X.(*ast.BasicLit); !ok || lit.Kind != token.STRING {
				operator(n.OpPos, n.Op, n)
			}
		case *ast.AssignStmt:
			operator(n.TokPos, n.Tok, n)
		case *ast.IncDecStmt:
			operator(n.TokPos, n.Tok, n)
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && calls[f.Name] != "" {
				replace(f.Pos(), f.End(), calls[f.Name], fmt.Sprintf("%s for %s in %s", calls[f.Name], f.Name, short(source(n))))
			}
		case *ast.ExprStmt:
			if call, ok := n.X.(*ast.CallExpr); ok {
				replace(n.Pos(), n.End(), "", "without "+short(source(call)))
			}
		case *ast.UnaryExpr:
			if n.Op == token.NOT {
				replace(n.Pos(), n.Pos()+1, "", "without ! in "+short(source(n)))
			}
		}
		return true
	})
	return all, nil
}

func short(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 70 {
		s = s[:67] + "..."
	}
	return s
}

// luaSwaps are changes of a line of Lua; each match in code is a mutant.
var luaSwaps = []struct{ from, to string }{
	{` < `, ` >= `}, {` <= `, ` > `}, {` > `, ` <= `}, {` >= `, ` < `}, {` == `, ` ~= `}, {` ~= `, ` == `},
	{` \+ `, ` - `}, {` - `, ` + `}, {` \* `, ` / `}, {` / `, ` * `}, {` and `, ` or `}, {` or `, ` and `},
	{`\bmin\(`, `max(`}, {`\bmax\(`, `min(`},
}

func luaMutants(file, text string) []mutant {
	var all []mutant
	offset := 0
	for i, line := range strings.SplitAfter(text, "\n") {
		code, _, _ := strings.Cut(line, "--")
		for _, s := range luaSwaps {
			for _, at := range regexp.MustCompile(s.from).FindAllStringIndex(code, -1) {
				a, b := offset+at[0], offset+at[1]
				all = append(all, mutant{
					file: file, line: i + 1, change: fmt.Sprintf("%s for %s in %s", strings.TrimSpace(s.to), strings.TrimSpace(code[at[0]:at[1]]), short(code)),
					text: text[:a] + s.to + text[b:],
				})
			}
		}
		offset += len(line)
	}
	return all
}
