// Package packages installs the programs of the distribution that tests run where they are missing and where that is
// allowed: as root on Debian and Ubuntu. Elsewhere the error names the packages, for a person to install.
//
// Do not use it for programs whose version matters: package tool builds those.
package packages
