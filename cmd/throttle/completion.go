package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help is shown by --help.
func (completionCommand) Help() string {
	return `Prints what makes a shell complete this command's commands and options. For one session:

  source <(throttle completion bash)
  source <(throttle completion zsh)
  throttle completion fish | source

For all of them, put that line into ~/.bashrc, into ~/.zshrc after compinit, or into ~/.config/fish/config.fish.

Exit codes: 0 done, 2 wrong usage.`
}

// Run runs the command.
func (c *completionCommand) Run(p *program, parsed *kong.Context) error {
	script := map[string]func([]*kong.Node) string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	var commands []*kong.Node
	for _, n := range parsed.Model.Children {
		if !n.Hidden {
			commands = append(commands, n)
		}
	}
	_, err := io.WriteString(p.stdout, script(commands))
	return err
}

// brief is the first sentence of a help text, without what a shell could take for its own.
func brief(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	first, _, _ = strings.Cut(first, ": ")
	return strings.TrimSuffix(strings.NewReplacer("'", "’", `"`, "", "[", "(", "]", ")", `\`, "", ":", " ", "`", "", "$", "").Replace(first), ".")
}

// takesFile says whether a command's arguments are files; an option's value is one if its placeholder says so.
func takesFile(n *kong.Node) bool { return n.Name == "batch" }

// choices are what an argument can be, where that is known.
func choices(p *kong.Positional) []string {
	if p.Enum == "" {
		return nil
	}
	return p.EnumSlice()
}

func bashCompletion(commands []*kong.Node) string {
	var b strings.Builder
	b.WriteString(`# bash completion for throttle
_throttle() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd= words= valued= i
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} != -* ]]; then
			cmd=${COMP_WORDS[i]}
			break
		fi
	done
	case $cmd in
`)
	names := []string{"--help", "--version"}
	for _, n := range commands {
		names = append(names, n.Name)
	}
	fmt.Fprintf(&b, "\t\"\") words=%q ;;\n", strings.Join(names, " "))
	for _, n := range commands {
		words, valued := []string{"--help"}, []string{}
		for _, f := range n.Flags {
			words = append(words, "--"+f.Name)
			if !f.IsBool() {
				valued = append(valued, "--"+f.Name)
			}
		}
		for _, p := range n.Positional {
			words = append(words, choices(p)...)
		}
		fmt.Fprintf(&b, "\t%s) words=%q valued=%q ;;\n", n.Name, strings.Join(words, " "), strings.Join(valued, " "))
	}
	b.WriteString(`	esac
	COMPREPLY=()
	# A value, or a file, is the shell's own to complete.
	if [[ " $valued " == *" $prev "* ]]; then return; fi
	COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _throttle throttle
`)
	return b.String()
}

func zshCompletion(commands []*kong.Node) string {
	var b strings.Builder
	b.WriteString("#compdef throttle\n_throttle() {\n\tlocal -a commands=(\n")
	for _, n := range commands {
		fmt.Fprintf(&b, "\t\t'%s:%s'\n", n.Name, brief(n.Help))
	}
	b.WriteString("\t)\n\tif (( CURRENT == 2 )); then\n\t\t_describe -t commands command commands\n\t\t_arguments '--help[Show help]' '--version[Print the version and exit]'\n\t\treturn\n\tfi\n\tlocal command=$words[2]\n\tshift words\n\t(( CURRENT-- ))\n\tcase $command in\n")
	for _, n := range commands {
		fmt.Fprintf(&b, "\t%s) _arguments '--help[Show help]'", n.Name)
		for _, f := range n.Flags {
			if f.IsBool() {
				fmt.Fprintf(&b, " '--%s[%s]'", f.Name, brief(f.Help))
			} else {
				fmt.Fprintf(&b, " '--%s=[%s]:%s:%s'", f.Name, brief(f.Help), f.FormatPlaceHolder(), zshFiles(f))
			}
		}
		for _, p := range n.Positional {
			switch {
			case len(choices(p)) > 0:
				fmt.Fprintf(&b, " ':%s:(%s)'", p.Name, strings.Join(choices(p), " "))
			case takesFile(n):
				fmt.Fprintf(&b, " ':%s:_files'", p.Name)
			default:
				fmt.Fprintf(&b, " '*:%s: '", p.Name)
			}
		}
		b.WriteString(" ;;\n")
	}
	b.WriteString("\tesac\n}\nif [ \"$funcstack[1]\" = _throttle ]; then _throttle \"$@\"; else compdef _throttle throttle; fi\n")
	return b.String()
}

func zshFiles(f *kong.Flag) string {
	if f.PlaceHolder == "FILE" {
		return "_files"
	}
	return " "
}

func fishCompletion(commands []*kong.Node) string {
	var b strings.Builder
	b.WriteString("# fish completion for throttle\ncomplete -c throttle -f\ncomplete -c throttle -l help -s h -d 'Show help'\ncomplete -c throttle -n __fish_use_subcommand -l version -d 'Print the version and exit'\n")
	for _, n := range commands {
		fmt.Fprintf(&b, "complete -c throttle -n __fish_use_subcommand -a %s -d '%s'\n", n.Name, brief(n.Help))
		within := fmt.Sprintf("complete -c throttle -n '__fish_seen_subcommand_from %s'", n.Name)
		if takesFile(n) {
			b.WriteString(within + " -F\n")
		}
		for _, p := range n.Positional {
			if list := choices(p); len(list) > 0 {
				fmt.Fprintf(&b, "%s -a '%s'\n", within, strings.Join(list, " "))
			}
		}
		for _, f := range n.Flags {
			value := ""
			switch {
			case f.PlaceHolder == "FILE":
				value = " -r -F"
			case !f.IsBool():
				value = " -x"
			}
			fmt.Fprintf(&b, "%s -l %s%s -d '%s'\n", within, f.Name, value, brief(f.Help))
		}
	}
	return b.String()
}
