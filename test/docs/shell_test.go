package docs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// checkConsole looks at what is typed, which stands behind a $.
func checkConsole(w *world, b block) []string {
	var typed []string
	for line := range strings.Lines(b.text) {
		if command, found := strings.CutPrefix(line, "$ "); found {
			typed = append(typed, command)
		}
	}
	if typed == nil { // only commands
		typed = []string{b.text}
		if first, _, _ := strings.Cut(b.text, " "); programs()[first] == nil {
			return []string{"there is no command in it: begin what is typed with $"}
		}
	}
	b.text = strings.Join(typed, "")
	return checkShell(w, b)
}

// checkShell has each command checked by whom it is for. The shell's own grammar tells where one begins.
func checkShell(w *world, b block) (problems []string) {
	file, err := syntax.NewParser().Parse(strings.NewReader(b.text), b.page)
	if err != nil {
		return []string{"no shell: " + err.Error()}
	}
	variables := map[string]string{}
	// What is substituted is a command of its own for the walk below.
	cfg := &expand.Config{
		Env: expand.FuncEnviron(func(name string) string { return variables[name] }), CmdSubst: func(io.Writer, *syntax.CmdSubst) error { return nil },
	}
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok {
			return true
		}
		for _, a := range call.Assigns {
			value, err := expand.Literal(cfg, a.Value)
			if err != nil {
				problems = append(problems, err.Error())
			}
			variables[a.Name.Value] = value
		}
		words, err := expand.Fields(cfg, call.Args...)
		if err != nil {
			problems = append(problems, "no shell: "+err.Error())
		}
		problems = append(problems, w.command(words)...)
		return true
	})
	return problems
}

// program checks the arguments of a command.
type program func(w *world, args []string) []string

func programs() map[string]program {
	return map[string]program{
		"kubectl": (*world).checkKubectl, "helm": (*world).checkHelm, "mountwarden": (*world).mountwarden,
		"kubectl-help": help("kubectl"), "helm-help": help("helm"), // not on any page: see everyCommand
		"make": (*world).checkMake, "go": (*world).checkGo,
		// What is run on other people's machines, with nothing of ours in it but names.
		"cosign": foreign, "gh": foreign, "sha256sum": foreign, "curl": foreign, "grep": foreign, "skopeo": foreign,
	}
}

// command checks one command, with what its placeholders stand for in the test's world.
func (w *world) command(words []string) []string {
	if len(words) == 0 {
		return nil
	}
	check := programs()[words[0]]
	if check == nil {
		return []string{fmt.Sprintf("no checker is for the program %q", words[0])}
	}
	args := slices.Clone(words[1:])
	for i, arg := range args {
		if words[0] == "make" { // its variables are in capitals, too
			break
		}
		for _, name := range regexp.MustCompile(`\b[A-Z][A-Z-]+[A-Z]\b|\bN\b`).FindAllString(arg, -1) {
			value, known := w.placeholders[name]
			if !known {
				return []string{fmt.Sprintf("%s: nobody knows what %s stands for", strings.Join(words, " "), name)}
			}
			args[i] = strings.ReplaceAll(args[i], name, value)
		}
	}
	return check(w, args)
}

// mountwarden has the agent's binary parse a command line; --help keeps it from doing more.
func (w *world) mountwarden(args []string) []string {
	said, err := w.run(w.binary, "", append(slices.Clone(args), "--help")...)
	if err != nil {
		return []string{err.Error()}
	}
	if len(args) > 0 && !strings.Contains(said, "  mountwarden "+args[0]) {
		return []string{fmt.Sprintf("there is no command %q", args[0])}
	}
	return nil
}

// help has a program parse its flags and do nothing.
func help(name string) program {
	return func(w *world, args []string) []string {
		if _, err := w.run(w.programs[name], "", append(slices.Clone(args), "--help")...); err != nil {
			return []string{err.Error()}
		}
		return nil
	}
}

func (w *world) checkMake(args []string) (problems []string) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return []string{err.Error()}
	}
	for _, target := range args {
		if variable, _, set := strings.Cut(target, "="); set {
			if !strings.Contains(string(makefile), "$("+variable) {
				problems = append(problems, fmt.Sprintf("the Makefile has no variable %q", variable))
			}
			continue
		}
		if !regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(target) + `:`).Match(makefile) {
			problems = append(problems, fmt.Sprintf("the Makefile has no target %q", target))
		}
	}
	return problems
}

func (w *world) checkGo(args []string) (problems []string) {
	for _, arg := range args {
		path, local := strings.CutPrefix(arg, "./")
		if !local {
			continue
		}
		_, here := os.Stat(filepath.Join(root, path))
		if _, there := os.Stat(filepath.Join(root, "test", path)); here != nil && there != nil {
			problems = append(problems, fmt.Sprintf("there is no package %q", arg))
		}
	}
	return problems
}

// foreign looks at the names of our own images and files.
func foreign(_ *world, args []string) (problems []string) {
	for _, arg := range args {
		if strings.Contains(arg, "ghcr.io/") && !regexp.MustCompile(`^(oci://)?ghcr\.io/mountwarden/(charts/)?mountwarden:v?1\.2\.3$`).MatchString(arg) {
			problems = append(problems, arg+" is none of ours")
		}
		if _, file, found := strings.Cut(arg, "/mountwarden/mountwarden/.github/"); found {
			file, _, _ = strings.Cut(file, "@")
			if _, err := os.Stat(filepath.Join(root, ".github", file)); err != nil {
				problems = append(problems, err.Error())
			}
		}
	}
	return problems
}
