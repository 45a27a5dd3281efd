package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mountwarden/mountwarden/config"
	"github.com/mountwarden/mountwarden/controllers"
	"github.com/mountwarden/mountwarden/controllers/ledger"
	"github.com/mountwarden/mountwarden/controllers/permissions"
	"github.com/mountwarden/mountwarden/probes/node"
)

// closeTimeout bounds how long the agent waits for its workers at the end. It leaves a worker that
// is stuck in the kernel behind. The pod's own grace period is longer.
const closeTimeout = 5 * time.Second

func newAgentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Watch the mounts of this node's annotated pods",
		Long: "agent looks at the mounts that this node's annotated pods really see, and has the pods replaced whose mounts have failed.\n" +
			"Settings come from defaults, then --config, then MOUNTWARDEN_... variables, then flags.",
		Args: rejectArgs,
	}
	config.AddFlags(cmd.Flags())
	printConfig := cmd.Flags().Bool("print-config", false, "print the resulting configuration as YAML and exit")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, warnings, err := config.Load(cmd.Flags(), os.LookupEnv)
		if err != nil {
			return newUsageError(err)
		}
		if *printConfig {
			return writeConfig(cmd, cfg)
		}
		if err := cfg.Validate(); err != nil {
			return newUsageError(err)
		}
		log := newLogger(cfg, cmd.ErrOrStderr())
		for _, w := range warnings {
			log.Info("Configuration warning", controllers.KeyDetail, string(w))
		}
		if err := setMemoryLimit(log, os.LookupEnv, cfg); err != nil {
			return newUsageError(err)
		}
		return runAgent(cmd.Context(), log, cfg)
	}
	return cmd
}

// writeConfig prints the configuration as YAML.
func writeConfig(cmd *cobra.Command, cfg config.Config) error {
	text, err := cfg.YAML()
	if err != nil {
		return fmt.Errorf("print the configuration: %w", err)
	}
	_, err = cmd.OutOrStdout().Write(text)
	return err
}

// runAgent builds the agent and runs it until ctx ends.
func runAgent(ctx context.Context, log logr.Logger, cfg config.Config) error {
	log = log.WithValues(controllers.KeyNode, cfg.NodeName)
	log.Info("Starting", "version", versionText(), "dryRun", cfg.DryRun)
	node.RelaxTimers()
	clock := ledger.NewClock(time.Now)
	restConfig, client, err := newAPIClient(cfg, clock)
	if err != nil {
		return err
	}
	if err := waitForPermissions(ctx, log, client, cfg); err != nil {
		return err
	}
	prober, err := newNodeProber(ctx, cfg)
	if err != nil {
		return err
	}
	logNodeSupport(log, prober)
	mgr, err := newManager(ctx, restConfig, client, clock, prober, cfg)
	if err == nil {
		err = mgr.Start(ctx)
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if closeErr := prober.Close(closing); closeErr != nil {
		log.Info("Left workers behind", controllers.KeyDetail, closeErr.Error())
	}
	log.Info("Stopped")
	return err
}

// logNodeSupport reports once which event sources this node has and which capabilities are missing.
func logNodeSupport(log logr.Logger, prober nodeProber) {
	for _, s := range prober.EventSources() {
		log.Info("Event source", controllers.KeySource, s.Name, controllers.KeyAvailable, s.Available, controllers.KeyDetail, s.Detail)
	}
	for _, c := range prober.capabilities {
		if !c.Held {
			log.Info("Capability missing", controllers.KeyCapability, c.Name, controllers.KeyDetail, "cannot be judged without it: "+c.Loses)
		}
	}
}

// newAPIClient reads the client configuration: in a pod its ServiceAccount, elsewhere KUBECONFIG or
// ~/.kube/config.
func newAPIClient(cfg config.Config, clock *ledger.Clock) (*rest.Config, kubernetes.Interface, error) {
	restConfig, err := ctrl.GetConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("find the API server (outside a pod set KUBECONFIG): %w", err)
	}
	restConfig.QPS, restConfig.Burst = float32(cfg.KubeAPI.QPS), cfg.KubeAPI.Burst
	restConfig.Wrap(clock.Wrap)
	restConfig.UserAgent = "mountwarden/" + versionText()
	typed := rest.CopyConfig(restConfig)
	typed.ContentType, typed.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	client, err := kubernetes.NewForConfig(typed)
	if err != nil {
		return nil, nil, fmt.Errorf("make an API client: %w", err)
	}
	return restConfig, client, nil
}

// waitForPermissions waits until the API server has said whether the agent may do its work. It is
// normal that the API server is unreachable when a node starts. A denied permission ends the agent,
// with an error that names every missing one.
func waitForPermissions(ctx context.Context, log logr.Logger, client kubernetes.Interface, cfg config.Config) error {
	needed := permissions.Needed(cfg)
	retry := time.NewTicker(5 * time.Second)
	defer retry.Stop()
	for {
		call, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := permissions.Check(call, client.AuthorizationV1().SelfSubjectAccessReviews(), needed)
		cancel()
		if err == nil || errors.Is(err, permissions.ErrMissing) {
			return err
		}
		log.Info("Waiting for the API server", controllers.KeyDetail, err.Error())
		select {
		case <-ctx.Done():
			return exitError{code: 0}
		case <-retry.C:
		}
	}
}
