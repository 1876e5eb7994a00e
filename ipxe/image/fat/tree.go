package fat

import (
	"fmt"
	"io/fs"
	"path"
	"strings"

	"farmboot/ipxe/segment"
)

// node is a file or a directory.
type node struct {
	name     string
	short    shortName
	parent   *node
	data     *segment.File // nil: a directory
	children []*node

	first    int // cluster; 0 for the root directory and for empty files
	clusters int
}

func (n *node) isDir() bool { return n.data == nil }

// tree is the directory tree of a volume.
type tree struct {
	root  *node
	nodes []*node // all but the root: directories, then files
}

// plant returns the tree of the files, with names checked and short names given.
func plant(files []File) (*tree, error) {
	t := &tree{root: &node{}}
	dirs := map[string]*node{".": t.root}
	var leaves []*node
	for _, f := range files {
		if !fs.ValidPath(f.Path) {
			return nil, fmt.Errorf("FAT path %q: want names with slashes between them", f.Path)
		}
		parent, err := t.mkdir(dirs, path.Dir(f.Path))
		if err != nil {
			return nil, err
		}
		n := &node{name: path.Base(f.Path), data: f.Data}
		if err := parent.adopt(n); err != nil {
			return nil, err
		}
		leaves = append(leaves, n)
	}
	t.nodes = append(t.nodes, leaves...)
	return t, nil
}

// mkdir returns the directory of that path, made if need be. dirs holds those that
// there are, by path in capitals.
func (t *tree) mkdir(dirs map[string]*node, name string) (*node, error) {
	key := strings.ToUpper(name)
	if d := dirs[key]; d != nil {
		return d, nil
	}
	parent, err := t.mkdir(dirs, path.Dir(name))
	if err != nil {
		return nil, err
	}
	d := &node{name: path.Base(name)}
	if err := parent.adopt(d); err != nil {
		return nil, err
	}
	dirs[key] = d
	t.nodes = append(t.nodes, d)
	return d, nil
}

// adopt makes child a child of n, unless its name is taken or cannot be written
// down.
func (n *node) adopt(child *node) error {
	if err := checkName(child.name); err != nil {
		return err
	}
	taken := map[shortName]bool{}
	for _, c := range n.children {
		if strings.EqualFold(c.name, child.name) {
			return fmt.Errorf("two files of the name %s in one FAT directory", child.name)
		}
		taken[c.short] = true
	}
	var err error
	if child.short, err = shorten(child.name, taken); err != nil {
		return err
	}
	child.parent = n
	n.children = append(n.children, child)
	return nil
}

// allocate gives every node its clusters, one after the other, and returns how many
// they are.
func (t *tree) allocate(clusterSize int) int64 {
	next := int64(firstCluster)
	for _, n := range t.nodes {
		size := int64(n.slots()) * entrySize
		if !n.isDir() {
			size = n.data.Size()
		}
		clusters := ceil(size, int64(clusterSize))
		if clusters > 0 {
			n.first, n.clusters = int(next), int(clusters)
			next += clusters
		}
	}
	return next - firstCluster
}
