package config

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"
)

// flagConfig is the flag that names the file.
const flagConfig = "config"

// Warning is something a person should know about a configuration that is used all the same.
type Warning string

// AddFlags adds --config and one flag for each setting to fs, or for those with the given keys alone. Their values are read by Load.
func AddFlags(fs *pflag.FlagSet, keys ...string) {
	fs.String(flagConfig, "", "file with settings, YAML or JSON")
	shown := Default()
	for _, s := range settings(&shown) {
		if len(keys) > 0 && !slices.Contains(keys, s.key) {
			continue
		}
		f := fs.VarPF(s, s.flag(), "", s.usage)
		if s.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// Load reads the configuration: defaults, then the file named by --config, then the environment, then the
// flags of fs, which has seen AddFlags and Parse. lookupEnv is os.LookupEnv. The result is well-formed
// and not yet validated: call Validate.
func Load(fs *pflag.FlagSet, lookupEnv func(string) (string, bool)) (Config, []Warning, error) {
	c := Default()
	all := settings(&c)
	warnings, err := loadFile(fs, all)
	err = errors.Join(err, loadEnvironment(all, lookupEnv), loadFlags(fs, all))
	return c, warnings, err
}

func loadFile(fs *pflag.FlagSet, all []setting) ([]Warning, error) {
	path, err := fs.GetString(flagConfig)
	if err != nil || path == "" {
		return nil, err
	}
	text, warnings, err := readFile(path)
	if err == nil {
		err = parse(text, all)
	}
	if err != nil {
		return warnings, fmt.Errorf("configuration file %s: %w", path, err)
	}
	return warnings, nil
}

// loadEnvironment ignores variables it does not know: for a Service named mountwarden the kubelet adds
// MOUNTWARDEN_SERVICE_HOST and others to every pod of its namespace.
func loadEnvironment(all []setting, lookupEnv func(string) (string, bool)) error {
	var problems []error
	for _, s := range all {
		for _, name := range variables(s) {
			if text, ok := lookupEnv(name); ok {
				problems = append(problems, wrap("environment variable "+name, s.Set(text)))
			}
		}
	}
	return errors.Join(problems...)
}

// variables lists the environment variables of a setting, the strongest last. NODE_NAME and POD_NAMESPACE are what
// manifests use by convention for the downward API's spec.nodeName and metadata.namespace.
func variables(s setting) []string {
	switch s.key {
	case "nodeName":
		return []string{"NODE_NAME", s.variable()}
	case "namespace":
		return []string{"POD_NAMESPACE", s.variable()}
	default:
		return []string{s.variable()}
	}
}

func loadFlags(fs *pflag.FlagSet, all []setting) error {
	var problems []error
	for _, s := range all {
		if fs.Changed(s.flag()) {
			problems = append(problems, wrap("flag --"+s.flag(), s.Set(fs.Lookup(s.flag()).Value.String())))
		}
	}
	return errors.Join(problems...)
}

// wrap says where an error comes from, if there is one.
func wrap(where string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", where, err)
}
