package bolt

import (
	"encoding/binary"
	"fmt"

	"github.com/tokenthrottle/throttle/bucket"
)

// A key is stored after a byte of its own, since bbolt knows no empty keys.
const keyPrefix = 'k'

func storedKey(key string) []byte {
	b := make([]byte, 0, 1+len(key))
	return append(append(b, keyPrefix), key...)
}

// A value is the session it was written in, the instant from which the key equals an absent one, both 8 bytes
// big-endian, and the state as JSON ([bucket.State.Encode]).
const (
	recordAbsentAt = 8
	recordState    = 16
)

// record is a value as it lies in the file: good until the transaction ends.
type record struct {
	session  uint64
	absentAt bucket.Micros
	encoded  []byte
}

func parseRecord(value []byte) (record, error) {
	if len(value) < recordState {
		return record{}, fmt.Errorf("a value of %d bytes", len(value))
	}
	return record{
		session:  binary.BigEndian.Uint64(value),
		absentAt: bucket.Micros(binary.BigEndian.Uint64(value[recordAbsentAt:])),
		encoded:  value[recordState:],
	}, nil
}

// state decodes the state.
func (r record) state(s *bucket.State) error { return s.Decode(r.encoded) }

func appendRecord(dst []byte, session uint64, s *bucket.State) []byte {
	dst = binary.BigEndian.AppendUint64(dst, session)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.AbsentAt()))
	return s.Encode(dst)
}
