// Package api serves the REST API to scripts, to the board and to other programs.
//
// One table ([API.Routes]) holds every route with the rule that says who may ask;
// openapi.yaml describes them all. What may be stored, and whose is what, is
// decided by [registry.Registry], for the command line and the API alike: the
// handlers here translate between HTTP and that.
package api
