// Package typo tells how far a word that somebody typed is from one that they may
// have meant.
package typo

import "strings"

// Nearest returns the known word that was probably meant: the one that differs least, by two
// bytes or a quarter of them at most; "": there is none.
func Nearest(word string, known []string) string {
	nearest, least := "", max(2, len(word)/4)+1
	for _, k := range known {
		if d := Distance(word, k); d < least {
			nearest, least = k, d
		}
	}
	return nearest
}

// Distance is the Levenshtein distance of two short words: how many bytes must be
// changed, added or left out to make one of the other. '_' and '-' count as one.
func Distance(a, b string) int {
	a, b = strings.ReplaceAll(a, "_", "-"), strings.ReplaceAll(b, "_", "-")
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
