package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"strconv"
	"strings"
)

// comparisons are what is put for a comparison: its contrary, and what differs at the boundary alone.
var comparisons = map[token.Token][]token.Token{
	token.LSS: {token.GEQ, token.LEQ}, token.LEQ: {token.GTR, token.LSS},
	token.GTR: {token.LEQ, token.GEQ}, token.GEQ: {token.LSS, token.GTR},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL}, token.LAND: {token.LOR}, token.LOR: {token.LAND},
}

// arithmetics are the operators that are put for each other.
var arithmetics = map[token.Token]token.Token{
	token.ADD: token.SUB, token.SUB: token.ADD, token.MUL: token.QUO, token.QUO: token.MUL,
	token.ADD_ASSIGN: token.SUB_ASSIGN, token.SUB_ASSIGN: token.ADD_ASSIGN, token.INC: token.DEC, token.DEC: token.INC,
}

// mutate makes the mutants of one node.
func (m *mutator) mutate(n ast.Node) {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		m.binary(n)
	case *ast.BasicLit:
		m.literal(n)
	case *ast.CallExpr:
		m.call(n)
	case *ast.Ident, *ast.UnaryExpr:
		m.condition(n.(ast.Expr))
	case *ast.AssignStmt:
		m.assignment(n)
	case *ast.IncDecStmt:
		if m.inBlock() {
			m.instead(n, m.source(n.X)+arithmetics[n.Tok].String(), fmt.Sprintf("`%s` for `%s` in `%s`", arithmetics[n.Tok], n.Tok, short(m.source(n))))
		}
	case *ast.ExprStmt, *ast.DeferStmt:
		if m.inBlock() && !strings.Contains(m.source(n), "ock()") { // without a lock all depends on luck
			m.instead(n.(ast.Stmt), "", fmt.Sprintf("nothing for `%s`", short(m.source(n))))
		}
	case *ast.ReturnStmt:
		if m.inBlock() && len(n.Results) == 0 {
			m.instead(n, "", "nothing for `return`")
		}
	case *ast.BranchStmt:
		if m.inBlock() && n.Tok == token.CONTINUE && n.Label == nil {
			m.instead(n, "", "nothing for `continue`")
		}
	}
}

func (m *mutator) parent() ast.Node { return m.stack[len(m.stack)-1] }

// inBlock says that the node is a statement in a list of them.
func (m *mutator) inBlock() bool {
	switch m.parent().(type) {
	case *ast.BlockStmt, *ast.CaseClause:
		return true
	}
	return false
}

// instead makes the mutant that does something else in a statement's place.
func (m *mutator) instead(n ast.Stmt, with, change string) {
	is := m.add(n.Pos(), change)
	m.edit(n, func(inner func(ast.Node) string) string {
		if with == "" {
			return "if !(" + is + ") {\n" + inner(n) + "\n}"
		}
		return "if " + is + " {\n" + with + "\n} else {\n" + inner(n) + "\n}"
	})
}

// typeOf is the type of an expression that isn't constant, as this file can write it, or "".
func (m *mutator) typeOf(e ast.Expr) (types.Type, string) {
	tv, ok := m.info.Types[e]
	if !ok || tv.Type == nil || tv.Value != nil {
		return nil, ""
	}
	return tv.Type, m.nameOf(tv.Type)
}

func (m *mutator) nameOf(t types.Type) string {
	imports := map[string]bool{}
	for _, i := range m.files[m.file].Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		imports[path] = i.Name == nil
	}
	known := true
	name := types.TypeString(t, func(p *types.Package) string {
		if p == m.types {
			return ""
		}
		known = known && imports[p.Path()]
		return p.Name()
	})
	if !known {
		return ""
	}
	return name
}

func numeric(t types.Type) bool {
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsNumeric != 0
}

func (m *mutator) binary(n *ast.BinaryExpr) {
	t, name := m.typeOf(n)
	if name == "" {
		return
	}
	if others := comparisons[n.Op]; others != nil {
		var is []string
		for _, op := range others {
			is = append(is, m.add(n.OpPos, fmt.Sprintf("`%s` for `%s` in `%s`", op, n.Op, short(m.source(n)))))
		}
		m.edit(n, func(inner func(ast.Node) string) string {
			x, y := inner(n.X), inner(n.Y)
			var b, not strings.Builder
			for i, op := range others {
				fmt.Fprintf(&b, "%s && (%s %s %s) || ", is[i], x, op, y)
				fmt.Fprintf(&not, "!(%s) && ", is[i])
			}
			return "(" + b.String() + not.String() + "(" + x + " " + n.Op.String() + " " + y + "))"
		})
		return
	}
	other, ok := arithmetics[n.Op]
	if !ok || !numeric(t) {
		return
	}
	is := m.add(n.OpPos, fmt.Sprintf("`%s` for `%s` in `%s`", other, n.Op, short(m.source(n))))
	m.edit(n, func(inner func(ast.Node) string) string {
		x, y := inner(n.X), inner(n.Y)
		return choice(name, is, x+" "+other.String()+" "+y, x+" "+n.Op.String()+" "+y)
	})
}

// choice is one of two expressions of a type.
func choice(name, is, broken, right string) string {
	return "func() " + name + " { if " + is + " { return " + broken + " }; return " + right + " }()"
}

// literal makes another number of one, and another statement of one of SQL.
func (m *mutator) literal(n *ast.BasicLit) {
	switch n.Kind {
	case token.STRING:
		m.statement(n)
	case token.INT:
		m.number(n)
	}
}

// statement changes SQL, in the files that consist of it.
func (m *mutator) statement(n *ast.BasicLit) {
	text, err := strconv.Unquote(n.Value)
	if err != nil || m.file != sqlFile {
		return
	}
	for _, s := range sqlSwaps {
		for _, at := range s.from.FindAllStringIndex(text, -1) {
			for _, to := range s.to {
				broken := text[:at[0]] + to + text[at[1]:]
				around := short(text[max(0, at[0]-30):min(len(text), at[1]+30)])
				is := m.add(n.Pos(), fmt.Sprintf("`%s` for `%s` in `%s`", strings.TrimSpace(to), strings.TrimSpace(text[at[0]:at[1]]), around))
				m.edit(n, func(inner func(ast.Node) string) string { return choice("string", is, strconv.Quote(broken), inner(n)) })
			}
		}
	}
}

// sqlFile holds the statements; sqlSwaps are changes of one, each match being a mutant.
const sqlFile = "sql.go"

var sqlSwaps = []swap{
	{regexp.MustCompile(` < `), []string{` >= `}}, {regexp.MustCompile(` > `), []string{` <= `}},
	{regexp.MustCompile(` >= `), []string{` < `, ` > `}}, {regexp.MustCompile(` <= `), []string{` > `, ` < `}},
	{regexp.MustCompile(` \+ `), []string{` - `}}, {regexp.MustCompile(` - `), []string{` + `}},
	{regexp.MustCompile(` AND `), []string{` OR `}}, {regexp.MustCompile(` OR `), []string{` AND `}},
	{regexp.MustCompile(` IS NULL`), []string{` IS NOT NULL`}}, {regexp.MustCompile(` DESC`), []string{` ASC`}},
	{regexp.MustCompile(`\bleast\(`), []string{`greatest(`}}, {regexp.MustCompile(`\bgreatest\(`), []string{`least(`}},
	{regexp.MustCompile(`'infinity'`), []string{`'-infinity'`}}, {regexp.MustCompile(`\bfalse\b`), []string{`true`}},
	{regexp.MustCompile(` SKIP LOCKED`), []string{``}},
}

// number makes another number of one.
func (m *mutator) number(n *ast.BasicLit) {
	switch p := m.parent().(type) {
	case *ast.BinaryExpr:
		if m.info.Types[p].Value != nil || p.Op == token.SHL || p.Op == token.SHR {
			return
		}
	case *ast.ReturnStmt, *ast.AssignStmt:
	case *ast.CallExpr:
		if m.info.Types[p].Value != nil || m.info.Types[p.Fun].IsType() {
			return
		}
	default:
		return
	}
	t := m.info.Types[n].Type
	v, err := strconv.Atoi(n.Value)
	if t == nil || err != nil {
		return
	}
	name := m.nameOf(types.Default(t))
	if name == "" || !numeric(t) {
		return
	}
	is := m.add(n.Pos(), fmt.Sprintf("`%d` for `%d` in `%s`", v+1, v, short(m.source(m.parent()))))
	m.edit(n, func(func(ast.Node) string) string { return choice(name, is, strconv.Itoa(v+1), n.Value) })
}

// call puts min and max for each other, and denies what a condition calls.
func (m *mutator) call(n *ast.CallExpr) {
	f, ok := n.Fun.(*ast.Ident)
	if !ok || f.Name != "min" && f.Name != "max" {
		m.condition(n)
		return
	}
	_, name := m.typeOf(n)
	if _, builtin := m.info.Uses[f].(*types.Builtin); !builtin || name == "" {
		return
	}
	other := map[string]string{"min": "max", "max": "min"}[f.Name]
	is := m.add(n.Pos(), fmt.Sprintf("`%s` for `%s` in `%s`", other, f.Name, short(m.source(n))))
	m.edit(n, func(inner func(ast.Node) string) string {
		args := make([]string, len(n.Args))
		for i, a := range n.Args {
			args[i] = inner(a)
		}
		list := "(" + strings.Join(args, ", ") + ")"
		return choice(name, is, other+list, f.Name+list)
	})
}

// condition denies what is asked for as it is: a variable, a call, or the contrary of one.
func (m *mutator) condition(e ast.Expr) {
	asked := false
	switch p := m.parent().(type) {
	case *ast.IfStmt:
		asked = p.Cond == e
	case *ast.ForStmt:
		asked = p.Cond == e
	case *ast.BinaryExpr:
		asked = p.Op == token.LAND || p.Op == token.LOR
	}
	t, name := m.typeOf(e)
	if !asked || name == "" || !types.Identical(t.Underlying(), types.Typ[types.Bool]) && !types.Identical(t, types.Typ[types.UntypedBool]) {
		return
	}
	is := m.add(e.Pos(), fmt.Sprintf("the contrary of `%s`", short(m.source(e))))
	m.edit(e, func(inner func(ast.Node) string) string { return "((" + is + ") != (" + inner(e) + "))" })
}

// assignment leaves an assignment out, and puts += and -= for each other.
func (m *mutator) assignment(n *ast.AssignStmt) {
	if !m.inBlock() {
		return
	}
	source := m.source(n)
	if other, ok := arithmetics[n.Tok]; ok && numeric(m.info.Types[n.Lhs[0]].Type) {
		m.instead(n, m.source(n.Lhs[0])+" "+other.String()+" "+m.source(n.Rhs[0]), fmt.Sprintf("`%s` for `%s` in `%s`", other, n.Tok, short(source)))
		return
	}
	if n.Tok == token.ASSIGN && !strings.HasPrefix(source, "_") {
		m.instead(n, "", fmt.Sprintf("nothing for `%s`", short(source)))
	}
}
