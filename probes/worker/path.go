package worker

// Path returns the worker binary. Started without a socket and memory it ends at once.
func (p *Pool) Path() string { return p.spawner.path }
