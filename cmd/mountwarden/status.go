package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers/status"
	"github.com/mountwarden/mountwarden/controllers/status/table"
	"github.com/mountwarden/mountwarden/controllers/status/web"
)

// Exit codes of status.
const (
	exitNotWatched = 1
	exitNoAnswer   = 3
)

const (
	// configFile is where the chart mounts the agent's configuration, which says where it listens.
	configFile = "/etc/mountwarden/config.yaml"
	// answerTimeout is for the whole answer, which the agent makes from memory alone.
	answerTimeout = 10 * time.Second
	// maxAnswer bounds what is read, in bytes: some kilobytes a mount.
	maxAnswer = 256 << 20
)

type statusFlags struct {
	namespace, pod, output string
	all                    bool
	settings               *pflag.FlagSet
}

func newStatusCommand() *cobra.Command {
	f := &statusFlags{settings: pflag.NewFlagSet("settings", pflag.ContinueOnError)}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what the agent of this node watches, what is broken, and what happens next",
		Long: "status asks the agent of this node, in whose container it runs, and touches no mount:\n\n" +
			"  kubectl -n mountwarden exec POD-OF-THE-AGENT -- mountwarden status\n\n" +
			"It shows the watched pods of all namespaces on this node, the worst first; --namespace and --pod choose.\n" +
			"It finds the agent by the configuration of that: --config (by default " + configFile + ", if there is one),\n" +
			"then MOUNTWARDEN_STATUS_BIND_ADDRESS, then --status-bind-address.\n" +
			"Exit code: 0 it was shown, whatever it shows, 1 the pod that --pod names is not watched here, 2 wrong usage, 3 the agent does not answer.",
		Args: rejectArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().StringVarP(&f.namespace, "namespace", "n", "", "show pods of this namespace only")
	cmd.Flags().BoolVarP(&f.all, "all-namespaces", "A", false, "show pods of all namespaces, which is the default")
	cmd.Flags().StringVar(&f.pod, "pod", "", "show this pod only: NAME or NAMESPACE/NAME")
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text or json")
	config.AddFlags(f.settings, "statusBindAddress")
	cmd.Flags().AddFlagSet(f.settings)
	return cmd
}

func (f *statusFlags) run(cmd *cobra.Command) error {
	filter, err := f.parseFilter()
	if err != nil {
		return newUsageError(err)
	}
	address, err := f.findAddress()
	if err != nil {
		return err
	}
	s, err := fetchStatus(cmd.Context(), address, filter)
	if err != nil {
		return exitError{code: exitNoAnswer, err: err}
	}
	write := table.Write
	if f.output == "json" {
		write = func(w io.Writer, s status.Snapshot) error { return status.WriteJSON(w, s, "  ") }
	}
	if err := write(cmd.OutOrStdout(), s); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	if filter.Pod != "" && len(s.Pods) == 0 {
		return exitError{code: exitNotWatched, err: fmt.Errorf("no watched pod of this node is named %q", f.pod)}
	}
	return nil
}

func (f *statusFlags) parseFilter() (status.Filter, error) {
	switch {
	case f.output != "text" && f.output != "json":
		return status.Filter{}, fmt.Errorf("--output is %q; allowed are text and json", f.output)
	case f.all && f.namespace != "":
		return status.Filter{}, errors.New("--all-namespaces and --namespace: allowed is one of them")
	}
	return status.NewFilter(f.namespace, f.pod, "")
}

// findAddress returns where the agent serves its status, from the same settings as the agent
// itself.
func (f *statusFlags) findAddress() (string, error) {
	if _, err := os.Stat(configFile); err == nil && !f.settings.Changed("config") {
		if err := f.settings.Set("config", configFile); err != nil {
			return "", err
		}
	}
	cfg, _, err := config.Load(f.settings, os.LookupEnv)
	if err != nil {
		return "", newUsageError(err)
	}
	address, err := cfg.StatusAddress()
	if err != nil {
		return "", newUsageError(err)
	}
	if address == "" {
		return "", exitError{code: exitNoAnswer, err: errors.New("the agent's status is turned off: statusBindAddress is 0; set it, for example to 127.0.0.1:8082")}
	}
	return address, nil
}

// fetchStatus asks the agent. It uses no proxy, because the agent is on this host.
func fetchStatus(ctx context.Context, address string, filter status.Filter) (s status.Snapshot, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	query := url.Values{"namespace": {filter.Namespace}, "pod": {filter.Pod}, "state": {filter.State}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+web.PathJSON+"?"+query.Encode(), http.NoBody)
	if err != nil {
		return s, fmt.Errorf("ask the agent: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return s, fmt.Errorf("no agent listens at %s: run this in the agent's container (kubectl -n mountwarden exec POD -- mountwarden status); "+
			"there it may still wait for the API server, or listen elsewhere: see its log, and statusBindAddress", address)
	}
	if err != nil {
		return s, fmt.Errorf("the agent does not answer at %s: %w", address, err)
	}
	defer response.Body.Close() //nolint:errcheck // nothing was written
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return s, fmt.Errorf("read the agent's answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return s, fmt.Errorf("the answer at %s is %q: is it the agent's?", address, response.Status)
	}
	if err := json.Unmarshal(body, &s); err != nil || s.Time.IsZero() {
		return s, fmt.Errorf("the answer at %s is no status of an agent: %w", address, errors.Join(err, errors.New("see statusBindAddress")))
	}
	return s, nil
}
