package lab_test

import (
	"syscall"
	"time"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/test/faultfs"
)

// onFUSE lets a healthy FUSE of a CSI driver have a fault.
func onFUSE(opts faultfs.Options, fault func(*faultfs.Server) error) func(*scene) {
	return func(s *scene) {
		v := s.csi()
		server := s.fuse(v.source, opts)
		s.start(v)
		s.good(1)
		if opts.CacheFor > 0 {
			s.do("stat", "/data") // fills the cache of attributes
		}
		s.must(fault(server))
	}
}

// hanging is onFUSE with looks that give up soon.
func hanging(opts faultfs.Options, fault func(*faultfs.Server) error) func(*scene) {
	run := onFUSE(opts, fault)
	return func(s *scene) {
		run(s)
		s.timeout = hangTimeout
	}
}

func failing(op faultfs.Op, errno syscall.Errno) func(*faultfs.Server) error {
	return func(s *faultfs.Server) error { return s.Error(op, errno) }
}

func slow(op faultfs.Op, d time.Duration) func(*faultfs.Server) error {
	return func(s *faultfs.Server) error { return s.Slow(op, d) }
}

var cached = faultfs.Options{CacheFor: time.Hour}

func fuseScenarios() []scenario {
	return []scenario{
		{
			name: "FUSE daemon killed", does: "SIGKILL to the daemon",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN from fstatfs",
			run: onFUSE(faultfs.Options{}, (*faultfs.Server).Kill),
		},
		{
			name: "FUSE daemon killed, attributes cached", does: "SIGKILL to a daemon that lets the kernel keep attributes for an hour",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN from fstatfs",
			run: onFUSE(cached, (*faultfs.Server).Kill),
		},
		{
			name: "FUSE connection aborted", does: "1 written to `/sys/fs/fuse/connections/N/abort`",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN from fstatfs",
			run: onFUSE(faultfs.Options{}, (*faultfs.Server).Abort),
		},
		{
			name: "FUSE daemon stopped", does: "SIGSTOP to the daemon: requests are not read",
			want: failed(probes.CauseHung), shows: "no answer to fstatfs",
			run: hanging(faultfs.Options{}, (*faultfs.Server).Stop),
		},
		{
			name: "FUSE daemon hangs", does: "all requests are read and never answered",
			want: failed(probes.CauseHung), shows: "no answer to fstatfs",
			run: hanging(faultfs.Options{}, func(s *faultfs.Server) error { return s.Hang(faultfs.All) }),
		},
		{
			name: "FUSE daemon hangs for attributes only", does: "only GETATTR is never answered",
			want: failed(probes.CauseHung), shows: "no answer to statx",
			run: hanging(faultfs.Options{}, func(s *faultfs.Server) error { return s.Hang(faultfs.Getattr) }),
		},
		{
			name: "the server behind a FUSE fails", does: "all requests fail with EIO",
			want: failed(probes.CauseIOError), shows: "EIO from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.EIO)),
		},
		{
			name: "the server behind a FUSE fails, attributes cached", does: "GETATTR fails with EIO, the kernel keeps attributes for an hour",
			want: failed(probes.CauseIOError), shows: "EIO from statx",
			run: onFUSE(cached, failing(faultfs.Getattr, syscall.EIO)),
		},
		{
			name: "the server behind a FUSE times out", does: "all requests fail with ETIMEDOUT",
			want: failed(probes.CauseIOError), shows: "ETIMEDOUT from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.ETIMEDOUT)),
		},
		{
			name: "the server behind a FUSE refuses its connection", does: "all requests fail with ECONNREFUSED",
			want: failed(probes.CauseIOError), shows: "ECONNREFUSED from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.ECONNREFUSED)),
		},
		{
			name: "stale handle", does: "all requests fail with ESTALE",
			want: failed(probes.CauseStale), shows: "ESTALE from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.ESTALE)),
		},
		{
			name: "stale handle of the root only", does: "GETATTR fails with ESTALE, the kernel keeps attributes for an hour",
			want: failed(probes.CauseStale), shows: "ESTALE from statx",
			run: onFUSE(cached, failing(faultfs.Getattr, syscall.ESTALE)),
		},
		{
			name: "a FUSE that denies access", does: "all requests fail with EACCES",
			want: unknown, shows: "EACCES from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.EACCES)),
		},
		{
			name: "a FUSE that is short of memory", does: "all requests fail with ENOMEM",
			want: unknown, shows: "ENOMEM from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.ENOMEM)),
		},
		{
			name: "FUSE hand-over", does: "SIGSTOP, three looks, SIGCONT: a daemon that hands its connection over is silent for up to half a minute",
			want: stays, run: handOver,
		},
		{
			name: "a server that comes back", does: "all requests fail with EIO for two looks, then are answered",
			want: stays, run: comesBack,
		},
		{
			name: "a server that fails now and then", does: "EIO at every second look",
			want: stays, run: flapping,
		},
		{
			name: "a FUSE that is busy", does: "all requests fail with EAGAIN",
			want: unknown, shows: "EAGAIN from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.EAGAIN)),
		},
		{
			name: "a FUSE that is interrupted", does: "all requests fail with EINTR",
			want: unknown, shows: "EINTR from fstatfs",
			run: onFUSE(faultfs.Options{}, failing(faultfs.All, syscall.EINTR)),
		},
		{
			name: "slow FUSE", does: "every request takes 200 ms, within the timeout",
			want: stays, run: onFUSE(faultfs.Options{}, slow(faultfs.All, 200*time.Millisecond)),
		},
		{
			name: "slow listing", does: "a listing of the folder never ends",
			want: stays, run: onFUSE(faultfs.Options{}, func(s *faultfs.Server) error { return s.Hang(faultfs.Readdir) }),
		},
		{
			name: "reads hang, nothing else", does: "reads are never answered, no canary is asked for",
			want: stays, run: onFUSE(faultfs.Options{}, func(s *faultfs.Server) error { return s.Hang(faultfs.Read) }),
		},
	}
}

func handOver(s *scene) {
	v := s.csi()
	server := s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.must(server.Stop())
	s.timeout = hangTimeout
	for range 3 {
		s.look()
		if s.seen[0].Cause != probes.CauseHung {
			s.t.Fatalf("it should hang: %+v", s.seen)
		}
		s.clock.skip(s.verdict.Next)
	}
	s.must(server.Continue())
	s.timeout = timeout
}

func comesBack(s *scene) {
	v := s.csi()
	server := s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	s.must(server.Error(faultfs.All, syscall.EIO))
	for range s.rules.FailureThreshold - 1 {
		s.look()
		s.clock.skip(s.rules.Period)
	}
	s.must(server.Clear())
}

func flapping(s *scene) {
	v := s.csi()
	server := s.fuse(v.source, faultfs.Options{})
	s.start(v)
	s.good(1)
	for range s.rules.FailureThreshold {
		s.must(server.Error(faultfs.All, syscall.EIO))
		s.look()
		s.clock.skip(s.rules.Period)
		s.must(server.Clear())
		s.look()
		s.clock.skip(s.rules.Period)
	}
}

// ownerScenarios are about a FUSE without allow_other: it answers its owner only, and nobody else learns that it is dead.
func ownerScenarios() []scenario {
	owned := faultfs.Options{OwnerOnly: true, Owner: 1000}
	root := faultfs.Options{OwnerOnly: true}
	return []scenario{
		{
			name: "another user's FUSE without allow_other: daemon killed", does: "mounted for uid 1000 alone, SIGKILL to the daemon",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN",
			run: onFUSE(owned, (*faultfs.Server).Kill),
		},
		{
			name: "another user's FUSE without allow_other: daemon stopped", does: "mounted for uid 1000 alone, SIGSTOP to the daemon",
			want: failed(probes.CauseHung), run: hanging(owned, (*faultfs.Server).Stop),
		},
		{
			name: "another user's FUSE without allow_other", does: "mounted for uid 1000 alone, nothing else",
			want: stays, run: onFUSE(owned, func(*faultfs.Server) error { return nil }),
		},
		{
			name: "root's FUSE without allow_other: daemon killed", does: "mounted for root alone, SIGKILL to the daemon",
			want: failed(probes.CauseDisconnected), shows: "ENOTCONN",
			run: onFUSE(root, (*faultfs.Server).Kill),
		},
	}
}
