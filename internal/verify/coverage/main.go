// Coverage says which statements of the arithmetic, the limiter and the drivers no test reaches, by function, each with
// the reason that reasons.txt gives. It fails if a function has more blocks that aren't reached than its reason allows. Of
// a reason that allows more than there are it only tells: some of these places are reached in one run and not in the next.
//
// A block is what the go command counts: statements that are reached together, such as the body of an if. So a branch
// with a body is one, and an if without an else that is always taken shows nothing.
//
//	go run ./internal/verify/coverage profile...
package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/tokenthrottle/throttle/"

//go:embed reasons.txt
var reasons string

func main() {
	err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "coverage:", err)
		os.Exit(1)
	}
}

func run(profiles []string) error {
	blocks, err := read(profiles)
	if err != nil {
		return err
	}
	why, err := parse(reasons)
	if err != nil {
		return err
	}
	return report(os.Stdout, ".", blocks, why)
}

// block is a run of statements that are reached together.
type block struct {
	file           string // from the module's root
	from, to       int    // lines
	fromCol, toCol int
}

// covered says how many statements a block has, and whether any profile reached it.
type covered struct {
	statements int
	reached    bool
}

// read merges profiles that the go command wrote.
func read(profiles []string) (map[block]covered, error) {
	all := map[block]covered{}
	for _, name := range profiles {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		err = merge(all, f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no profile with anything in it among %q", profiles)
	}
	return all, nil
}

func merge(all map[block]covered, r io.Reader) error {
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		line := scan.Text()
		if strings.HasPrefix(line, "mode:") {
			continue
		}
		file, rest, ok := strings.Cut(strings.TrimPrefix(line, module), ":")
		var b block
		var n, hits int
		if _, err := fmt.Sscanf(rest, "%d.%d,%d.%d %d %d", &b.from, &b.fromCol, &b.to, &b.toCol, &n, &hits); !ok || err != nil {
			return fmt.Errorf("line %q is none of a coverage profile", line)
		}
		b.file = file
		all[b] = covered{n, all[b].reached || hits > 0}
	}
	return scan.Err()
}

// reason says why blocks of a function aren't reached, and how many of them that is at most.
type reason struct {
	most int
	why  string
}

// parse reads reasons by file and function: both, a number, a colon, and why; lines that begin with # are comments. A
// file as a whole can't have one.
func parse(text string) (map[string]reason, error) {
	list := map[string]reason{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		place, why, _ := strings.Cut(line, ": ")
		fields := strings.Fields(place)
		most := 0
		if len(fields) == 3 {
			most, _ = strconv.Atoi(fields[2])
		}
		if most <= 0 || why == "" {
			return nil, fmt.Errorf("reason %q: want file function n: why", line)
		}
		where := fields[0] + " " + fields[1]
		if list[where].why != "" {
			return nil, fmt.Errorf("%s has two reasons", where)
		}
		list[where] = reason{most, why}
	}
	return list, nil
}

// report writes a table of packages and one of what isn't reached.
func report(w io.Writer, root string, blocks map[block]covered, why map[string]reason) error {
	total, reached := map[string]int{}, map[string]int{}
	missing := map[string][]block{} // by file and function
	functions := map[string][]function{}
	for b, c := range blocks {
		folder := path.Dir(b.file)
		total[folder] += c.statements
		if c.reached {
			reached[folder] += c.statements
			continue
		}
		if functions[b.file] == nil {
			list, err := functionsOf(root, b.file)
			if err != nil {
				return err
			}
			functions[b.file] = list
		}
		where := b.file + " " + nameAt(functions[b.file], b.from)
		missing[where] = append(missing[where], b)
	}
	fmt.Fprint(w, "| package | statements | reached |\n|---|---|---|\n")
	for _, folder := range slices.Sorted(maps.Keys(total)) {
		name := folder
		if name == "." {
			name = "throttle"
		}
		fmt.Fprintf(w, "| `%s` | %d | %.1f %% |\n", name, total[folder], 100*float64(reached[folder])/float64(total[folder]))
	}
	fmt.Fprint(w, "\n| not reached | lines | why |\n|---|---|---|\n")
	var wrong []string
	for _, where := range slices.Sorted(maps.Keys(missing)) {
		file, function, _ := strings.Cut(where, " ")
		text := why[where].why
		switch n, most := len(missing[where]), why[where].most; {
		case most == 0:
			text = "**no reason is given**"
			wrong = append(wrong, where)
		case n > most:
			text = fmt.Sprintf("**the reason is for %d blocks, not for %d**: %s", most, n, text)
			wrong = append(wrong, where)
		}
		fmt.Fprintf(w, "| `%s`, `%s` | %s | %s |\n", file, function, lines(missing[where]), text)
	}
	for _, where := range slices.Sorted(maps.Keys(why)) {
		switch n, most := len(missing[where]), why[where].most; {
		case n == 0:
			fmt.Fprintf(w, "\n%s is reached: its reason can go, unless another run needs it.\n", where)
		case n < most:
			fmt.Fprintf(w, "\n%s has %d blocks that aren't reached: its reason, for %d, can say so, unless another run needs it.\n", where, n, most)
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("not reached, and reasons.txt doesn't say why, or not of so many blocks: %s", strings.Join(wrong, ", "))
	}
	return nil
}

func lines(blocks []block) string {
	slices.SortFunc(blocks, func(a, b block) int { return a.from - b.from })
	var list []string
	for _, b := range blocks {
		text := strconv.Itoa(b.from)
		if b.to > b.from {
			text += "–" + strconv.Itoa(b.to)
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// function is where a function of a file stands.
type function struct {
	name     string
	from, to int
}

func functionsOf(root, file string) (list []function, err error) {
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, path.Join(root, file), nil, 0)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			receiver := f.Recv.List[0].Type
			if star, ok := receiver.(*ast.StarExpr); ok {
				receiver = star.X
			}
			if ident, ok := receiver.(*ast.Ident); ok {
				name = ident.Name + "." + name
			}
		}
		list = append(list, function{name, set.Position(f.Pos()).Line, set.Position(f.End()).Line})
	}
	return list, nil
}

func nameAt(list []function, line int) string {
	for _, f := range list {
		if f.from <= line && line <= f.to {
			return f.name
		}
	}
	return "init"
}
