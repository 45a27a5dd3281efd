package backend

import (
	"strings"
	"testing"

	"github.com/mountwarden/mountwarden/probes"
	"github.com/mountwarden/mountwarden/probes/backend/ask"
	"github.com/mountwarden/mountwarden/probes/mountinfo"
)

func TestNewNFSQuestion(t *testing.T) {
	v := func(source, fsType, name string) probes.Volume {
		return probes.Volume{Backend: probes.Backend{Kind: probes.BackendNFS, Name: name}, Source: source, FSType: fsType}
	}
	none := mountinfo.Mount{}
	with := func(fsType, options string) mountinfo.Mount {
		return mountinfo.Mount{FSType: fsType, SuperOptions: options}
	}
	const v4 = "rw,vers=4.2,rsize=1048576,wsize=1048576,namlen=255,hard,proto=tcp,timeo=600,retrans=2,sec=sys,clientaddr=10.0.0.2,local_lock=none,addr=10.0.0.1"
	const v3 = "rw,vers=3,rsize=65536,hard,nolock,proto=tcp6,port=12049,mountaddr=10.0.0.9,mountvers=3,mountport=635,mountproto=udp,addr=2001:db8::1"
	for name, row := range map[string]struct {
		volume probes.Volume
		mount  mountinfo.Mount
		want   ask.NFS
		fails  string
	}{
		"NFS 4":                {v("srv:/x", "nfs4", "srv"), with("nfs4", v4), ask.NFS{Server: "10.0.0.1", Version: 4}, ""},
		"NFS 3":                {v("srv:/x", "nfs", "srv"), with("nfs", v3), ask.NFS{Server: "2001:db8::1", Version: 3, Port: 12049}, ""},
		"not mounted":          {v("srv:/x", "nfs4", "srv"), none, ask.NFS{Server: "srv", Version: 4}, ""},
		"not mounted, NFS 3":   {v("srv:/x", "nfs", "srv"), none, ask.NFS{Server: "srv"}, ""},
		"not found at all":     {v("", "", "srv"), none, ask.NFS{Server: "srv"}, ""},
		"not found, IPv6":      {v("", "", "[2001:db8::1]"), none, ask.NFS{Server: "2001:db8::1"}, ""},
		"IPv6":                 {v("[2001:db8::1]:/x:/y", "nfs4", ""), none, ask.NFS{Server: "2001:db8::1", Version: 4}, ""},
		"IPv6 without":         {v("2001:db8::1:/x", "nfs4", ""), none, ask.NFS{Server: "2001:db8::1", Version: 4}, ""},
		"whole server":         {v("srv:/", "nfs4", ""), none, ask.NFS{Server: "srv", Version: 4}, ""},
		"another mount":        {v("srv:/x", "nfs4", ""), with("fuse.x", "rw,addr=10.0.0.1"), ask.NFS{Server: "srv", Version: 4}, ""},
		"no address":           {v("srv:/x", "nfs4", ""), with("nfs4", "rw,vers=4.0"), ask.NFS{Server: "srv", Version: 4}, ""},
		"odd options":          {v("srv:/x", "nfs", ""), with("nfs", "rw,port=,vers=x,addr"), ask.NFS{}, "not known"},
		"port that is none":    {v("srv:/x", "nfs4", ""), with("nfs4", "rw,port=x,addr=1.2.3.4"), ask.NFS{Server: "1.2.3.4", Version: 4}, ""},
		"UDP":                  {v("srv:/x", "nfs", ""), with("nfs", "rw,vers=3,proto=udp,addr=10.0.0.1"), ask.NFS{}, `"udp"`},
		"RDMA":                 {v("srv:/x", "nfs4", ""), with("nfs4", "rw,vers=4.1,proto=rdma,port=20049,addr=10.0.0.1"), ask.NFS{}, `"rdma"`},
		"nothing":              {v("", "nfs4", ""), none, ask.NFS{}, "not known"},
		"no path":              {v("srv", "nfs4", ""), none, ask.NFS{}, "not known"},
		"no server":            {v(":/x", "nfs4", ""), none, ask.NFS{}, "not known"},
		"bracket open":         {v("[2001:db8::1", "nfs4", ""), none, ask.NFS{}, "not known"},
		"bracket only":         {v("[]:/x", "nfs4", ""), none, ask.NFS{}, "not known"},
		"device":               {v("/dev/sda", "nfs4", ""), none, ask.NFS{}, "not known"},
		"too long":             {v(strings.Repeat("a", 254)+":/x", "nfs4", ""), none, ask.NFS{}, "not known"},
		"blank":                {v("a b:/x", "nfs4", ""), none, ask.NFS{}, "not known"},
		"zero":                 {v("a\x00:/x", "nfs4", ""), none, ask.NFS{}, "not known"},
		"path before":          {v("/a:/x", "nfs4", ""), none, ask.NFS{}, "not known"},
		"a driver's name":      {probes.Volume{Backend: probes.Backend{Kind: probes.BackendCSI, Name: "d"}, FSType: "nfs4"}, none, ask.NFS{}, "not known"},
		"a source's own words": {probes.Volume{Backend: probes.Backend{Kind: probes.BackendSource, Name: "nfs/x"}, FSType: "nfs"}, none, ask.NFS{}, "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := newNFSQuestion(row.volume, row.mount)
			switch {
			case row.fails != "" && (err == nil || !strings.Contains(err.Error(), row.fails)):
				t.Errorf("got %+v, %v, want %q", got, err, row.fails)
			case row.fails == "" && (err != nil || got != row.want):
				t.Errorf("got %+v, %v, want %+v", got, err, row.want)
			}
		})
	}
}
