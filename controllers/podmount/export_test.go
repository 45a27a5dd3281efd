package podmount

// HostOf is hostOf, which no played look reaches with every nesting of mounts.
var HostOf = hostOf
