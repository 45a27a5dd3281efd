// Package fuzz compares the product's parsers with those of others on random input. It holds tests only: the product's
// module does without the others. Fuzz targets that need nobody else are in the package of their parser.
//
//	make fuzz FUZZTIME=10m RUN=Mountinfo
package fuzz
