package main

import (
	"io"
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/mountwarden/mountwarden/config"
)

// newLogger returns a logger that writes to w, and has the libraries write through it too. It uses
// slog instead of zap because slog is in the standard library and keeps the binary smaller. logr's
// V(n) is slog's level -n.
func newLogger(cfg config.Config, w io.Writer) logr.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(-cfg.LogLevel)}
	var handler slog.Handler = slog.NewJSONHandler(w, options)
	if cfg.LogFormat == config.LogFormatText {
		handler = slog.NewTextHandler(w, options)
	}
	log := logr.FromSlogHandler(handler)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))
	return log
}
