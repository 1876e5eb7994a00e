// Package pages serves the web pages: what farmers download from, and the board
// on which admins watch their farm boot.
//
// Pages are rendered here, whole, and work without JavaScript; the scripts under
// static only update them live. Nothing comes from elsewhere: the
// Content-Security-Policy allows our own static files and nothing else, not even
// inline. All wording is in the templates, and in texts.go where Go chooses
// between texts; the scripts have no words of their own.
package pages
