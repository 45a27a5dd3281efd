// Package mountinfo turns the text of mountinfo(5) into a Table and answers what is mounted at a
// path.
//
// It leans on the format of proc_pid_mountinfo(5): fields split by single spaces, of which the
// source may be empty; blanks, newlines and backslashes escaped in octal; " - " between the
// optional fields and the file system. Ids and device numbers are used again within seconds, and a
// read is not atomic across 4 KiB (a seq_file of the kernel): confirm "not mounted" with a second
// read.
//
// It does no I/O of its own. Do not use it to learn whether a mount works: the text of a dead mount
// is the same as that of a living one.
package mountinfo
