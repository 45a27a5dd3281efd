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

// AddFlags adds --config and one flag for each setting to fs, or only for the settings with the
// given keys. Load reads their values.
func AddFlags(fs *pflag.FlagSet, keys ...string) {
	fs.String(flagConfig, "", "file with settings, YAML or JSON")
	shown := Default()
	for _, s := range listSettings(&shown) {
		if len(keys) > 0 && !slices.Contains(keys, s.key) {
			continue
		}
		f := fs.VarPF(s, s.flagName(), "", s.usage)
		if s.Type() == "bool" {
			f.NoOptDefVal = "true"
		}
	}
}

// Load reads the configuration: defaults, then the file that --config names, then the environment,
// then the flags of fs, on which AddFlags and Parse were called. lookupEnv is os.LookupEnv. The
// result is well-formed, but not validated: call Validate.
func Load(fs *pflag.FlagSet, lookupEnv func(string) (string, bool)) (Config, []Warning, error) {
	c := Default()
	all := listSettings(&c)
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
		err = parseDocument(text, all)
	}
	if err != nil {
		return warnings, fmt.Errorf("configuration file %s: %w", path, err)
	}
	return warnings, nil
}

// loadEnvironment ignores variables that it does not know. For a Service named mountwarden the
// kubelet adds MOUNTWARDEN_SERVICE_HOST and others to every pod of its namespace.
func loadEnvironment(all []setting, lookupEnv func(string) (string, bool)) error {
	var problems []error
	for _, s := range all {
		for _, name := range listVariables(s) {
			if text, ok := lookupEnv(name); ok {
				problems = append(problems, wrapError("environment variable "+name, s.Set(text)))
			}
		}
	}
	return errors.Join(problems...)
}

// listVariables lists the environment variables of a setting, the strongest last. Manifests use
// NODE_NAME and POD_NAMESPACE by convention for the downward API's spec.nodeName and
// metadata.namespace.
func listVariables(s setting) []string {
	switch s.key {
	case "nodeName":
		return []string{"NODE_NAME", s.variableName()}
	case "namespace":
		return []string{"POD_NAMESPACE", s.variableName()}
	default:
		return []string{s.variableName()}
	}
}

func loadFlags(fs *pflag.FlagSet, all []setting) error {
	var problems []error
	for _, s := range all {
		if fs.Changed(s.flagName()) {
			problems = append(problems, wrapError("flag --"+s.flagName(), s.Set(fs.Lookup(s.flagName()).Value.String())))
		}
	}
	return errors.Join(problems...)
}

// wrapError says where an error comes from, if there is one.
func wrapError(where string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", where, err)
}
