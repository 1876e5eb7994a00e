package kernel

import (
	"slices"
	"time"

	"farmboot/provisioning"
)

// Info is a kernel as the API and the command line show it.
type Info struct {
	Name     string                 `json:"name"`
	Size     int64                  `json:"size"` // bytes
	Modified time.Time              `json:"modified"`
	SHA256   string                 `json:"sha256"`            // hexadecimal digits
	Format   Format                 `json:"format"`            // by its first bytes
	Target   string                 `json:"target,omitempty"`  // what a symbolic link says
	RunModes []provisioning.RunMode `json:"runmodes"`          // that boot it
	Problem  string                 `json:"problem,omitempty"` // why no node can boot it, by its own header
}

// Infos lists the kernels, by name.
func (s *Store) Infos() ([]Info, error) {
	kernels, err := s.List()
	if err != nil {
		return nil, err
	}
	infos := []Info{}
	for _, k := range kernels {
		switch info, err := s.infoOf(k); {
		case err == nil:
			infos = append(infos, info)
		case provisioning.ErrorCode(err) != provisioning.NotFound: // removed since
			return nil, err
		}
	}
	return infos, nil
}

// Info tells what is known of one kernel. Errors are those of [Store.Stat].
func (s *Store) Info(name string) (Info, error) {
	if err := CheckName(name); err != nil {
		return Info{}, err
	}
	kernels, err := s.List()
	if err != nil {
		return Info{}, err
	}
	i := slices.IndexFunc(kernels, func(k Kernel) bool { return k.Name == name })
	if i < 0 {
		return Info{}, missing(name, nil)
	}
	return s.infoOf(kernels[i])
}

func (s *Store) infoOf(k Kernel) (Info, error) {
	sum, err := s.SHA256(k.Name)
	if err != nil {
		return Info{}, err
	}
	f, fi, err := s.Open(k.Name)
	if err != nil {
		return Info{}, err
	}
	defer f.Close()
	h, problem := ReadHeader(f), ""
	if err := refuse(k.Name, h.fault(f, fi.Size())); err != nil {
		problem = err.Error()
	}
	modes := k.RunModes
	if modes == nil {
		modes = []provisioning.RunMode{} // an empty list, not null
	}
	return Info{k.Name, k.Size, k.ModTime.UTC(), sum, h.Format, k.Target, modes, problem}, nil
}
