package main

// box is a rectangle with a title and lines of text.
type box struct {
	x, y, w, h int
	class      string // "step", which the data passes, or "outside"
	title      string
	lines      []string
}

// arrow leads from one point to another.
type arrow struct {
	x1, y1, x2, y2 int
	label          string
	lx, ly         int // where the label begins
}

// scene is all that is drawn.
type scene struct {
	width, height int
	title, desc   string
	boxes         []box
	arrows        []arrow
}

// theScene is the way of the data, in six steps: to the right through the node, down, and to the left through the API.
func theScene() scene {
	return scene{
		width: 960, height: 500,
		title: "From a mount table to a healthy successor",
		desc: "Six steps: the mount tables of container and host are read; a worker process asks the mount; the answer is an observation; the verdict " +
			"believes it after enough looks; the remediation asks its gates and evicts the pod; the follow-up waits for a healthy successor.",
		boxes: []box{
			{20, 20, 270, 76, "outside", "the node", []string{"/proc/PID/mountinfo, pidfds, /sys", "kernel events: look now"}},
			{345, 20, 270, 76, "outside", "the volume", []string{"FUSE, NFS, CSI, disk", "a call on it may never return"}},
			{670, 20, 270, 76, "outside", "the pod's annotations", []string{"mountwarden.io/…: what to look at,", "how long to wait, whether to act"}},
			{20, 150, 270, 106, "step", "1 mount tables", []string{"probes/mountinfo, probes/view", "the container's view and the host's:", "what is mounted, and what is missing"}},
			{345, 150, 270, 106, "step", "2 probe", []string{"probes/worker, probes/check", "a worker process enters the volume:", "fstatfs, statx, a canary if asked"}},
			{670, 150, 270, 106, "step", "3 observation", []string{"probes/node", "Healthy, Broken with a cause, or", "Unknown, which never removes a pod"}},
			{670, 310, 270, 106, "step", "4 verdict", []string{"controllers/verdict: pure", "Suspect, then Failed: two looks, or", "failure-threshold, or hang-seconds"}},
			{345, 310, 270, 106, "step", "5 remediation", []string{"controllers/remediate", "would it help, is it one too many?", "a last look, then one eviction"}},
			{20, 310, 270, 106, "step", "6 follow-up", []string{"controllers/followup", "until the successor is healthy,", "or why it is not"}},
			{20, 452, 920, 36, "outside", "the API server: pods, evictions, events, Leases, the condition MountsHealthy", nil},
		},
		arrows: []arrow{
			{x1: 155, y1: 96, x2: 155, y2: 150, label: "text", lx: 165, ly: 128},
			{x1: 480, y1: 150, x2: 480, y2: 96, label: "by descriptor", lx: 490, ly: 128},
			{x1: 805, y1: 96, x2: 805, y2: 150, label: "Policy", lx: 815, ly: 128},
			{x1: 290, y1: 203, x2: 345, y2: 203},
			{x1: 615, y1: 203, x2: 670, y2: 203},
			{x1: 805, y1: 256, x2: 805, y2: 310, label: "each look", lx: 815, ly: 288},
			{x1: 670, y1: 363, x2: 615, y2: 363},
			{x1: 345, y1: 363, x2: 290, y2: 363},
			{x1: 155, y1: 452, x2: 155, y2: 416, label: "watch", lx: 165, ly: 439},
			{x1: 480, y1: 416, x2: 480, y2: 452, label: "evict", lx: 490, ly: 439},
			{x1: 805, y1: 416, x2: 805, y2: 452, label: "events, condition", lx: 815, ly: 439},
		},
	}
}
