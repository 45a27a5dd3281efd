package podmount

// FindHostVolume is findHostVolume: no test of a Reconciler reaches it with every nesting of
// mounts.
var FindHostVolume = findHostVolume
