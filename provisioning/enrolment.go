package provisioning

// Enrolment keeps which nodes are to be made to trust our key for Secure Boot at their
// next boot.
type Enrolment interface {
	// Enrolling tells whether m is to be enrolled.
	Enrolling(m MAC) bool
	// Enrol has m enrolled at its next boot.
	Enrol(m MAC) error
	// Enrolled ends that, whether m was enrolled or not.
	Enrolled(m MAC)
}
