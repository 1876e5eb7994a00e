package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const (
	imagePath  = "/usb/prod/1234"
	kernelPath = "/kernel/net/prod.efi"
	nginxFile  = "nginx, a static file"
)

// withNginx starts an appliance, and nginx with the same files at the same paths.
func (s *site) withNginx(ctx context.Context, paths ...string) (ours, other server, err error) {
	f, err := s.newFarmboot("ours", s.ours)
	if err != nil {
		return ours, other, err
	}
	if _, err := f.serve(ctx); err != nil {
		return ours, other, err
	}
	if s.beside != "" {
		other, err := s.serveBeside(ctx)
		return server{s.ours, f.PID()}, other, err
	}
	for _, path := range paths {
		if err := s.mirror(path); err != nil {
			return ours, other, err
		}
	}
	pid, _, err := s.nginx(ctx)
	return server{s.ours, f.PID()}, server{s.other, pid}, err
}

// mirror fetches a path from our appliance into nginx's root.
func (s *site) mirror(path string) error {
	c, err := s.connect(s.ours, false)
	if err != nil {
		return err
	}
	defer c.close()
	body, err := c.fetch(request(path))
	if err != nil {
		return err
	}
	file := s.path("nginx", "root", path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, body, 0o644)
}

// benchDownloads measures how fast many clients get an image, which is composed
// for each of them, and a kernel, which is a file.
func benchDownloads(ctx context.Context, s *site, rep *report) error {
	ours, other, err := s.withNginx(ctx, imagePath, kernelPath)
	if err != nil {
		return err
	}
	for _, l := range []load{
		{path: imagePath, clients: 1},
		{path: imagePath, clients: 16},
		{path: imagePath, clients: 256},
		{path: kernelPath, clients: 1},
		{path: kernelPath, clients: 16},
		{path: kernelPath, clients: 256},
		{path: imagePath, clients: 16, secure: true},
	} {
		l.time = 400 * time.Millisecond
		m, err := compare(4,
			func() (sample, error) { return s.put(l, ours) },
			func() (sample, error) { return s.put(l, other) })
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%s, %d at once", l.path, l.clients)
		if l.secure {
			what = "https " + what
		}
		rep.add(row{what: what, unit: megabytesPerSecond, ours: m[0]["MB/s"], beside: m[1]["MB/s"], peer: nginxFile})
		if l.path == imagePath {
			rep.add(row{what: what, unit: perSecond, ours: m[0]["requests/s"], beside: m[1]["requests/s"], peer: nginxFile})
		}
		rep.add(row{what: what, unit: cpuPerGB, ours: m[0]["CPU ms/GB"], beside: m[1]["CPU ms/GB"], peer: nginxFile})
	}
	return ctx.Err()
}
