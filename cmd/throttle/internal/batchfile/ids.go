package batchfile

import "crypto/sha256"

// IDs remembers custom_ids by 16 bytes of their SHA-256, about 40 bytes of memory each however long they are. That two
// of a billion share one is less likely than 1 in 10²⁰.
type IDs struct{ marks map[[16]byte]mark }

type mark uint8

const (
	finished mark = 1 << iota // there is a result
	read                      // the input has been read up to it
)

// Read notes that the input has this id. first is false if it had it before, done true if there is a result already.
func (s *IDs) Read(id string) (first, done bool) {
	m := s.mark(id, read)
	return m&read == 0, m&finished != 0
}

// finish notes a result, and says whether it is the first one.
func (s *IDs) finish(id string) bool {
	return s.mark(id, finished)&finished == 0
}

// mark adds a mark and returns those from before.
func (s *IDs) mark(id string, add mark) mark {
	if s.marks == nil {
		s.marks = map[[16]byte]mark{}
	}
	sum := sha256.Sum256([]byte(id))
	key := [16]byte(sum[:16])
	before := s.marks[key]
	s.marks[key] = before | add
	return before
}

// Len is how many ids are known.
func (s *IDs) Len() int { return len(s.marks) }
