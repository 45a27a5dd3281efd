package worker

// Path returns the worker binary.
func (p *Pool) Path() string { return p.spawner.path }
