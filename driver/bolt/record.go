package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/tokenthrottle/throttle/bucket"
)

// A key is stored after a byte of its own, since bbolt knows no empty keys.
const keyPrefix = 'k'

func storedKey(key string) []byte {
	b := make([]byte, 0, 1+len(key))
	return append(append(b, keyPrefix), key...)
}

// A value is a checksum of the stored key and what follows (CRC-32C, 4 bytes), the session it was written in, the instant
// from which the key equals an absent one, both 8 bytes, all big-endian, and the state as JSON ([bucket.State.Encode]).
const (
	recordSession  = 4
	recordAbsentAt = 12
	recordState    = 20

	recordUsual = 512 // bytes that most values fit into
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum is what the value of a stored key begins with.
func checksum(stored, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(stored, castagnoli), castagnoli, value[recordSession:])
}

// share is what a value adds to the sum over all, in which none can be lost, doubled or old unnoticed: the upper half
// counts them, nearly. No value adds nothing.
func share(value []byte) uint64 {
	if len(value) < recordState {
		return 0
	}
	return 1<<32 | uint64(binary.BigEndian.Uint32(value))
}

// record is a value as it lies in the file: good until the transaction ends.
type record struct {
	session  uint64
	absentAt bucket.Micros
	encoded  []byte
}

func parseRecord(stored, value []byte) (record, error) {
	if len(value) < recordState {
		return record{}, fmt.Errorf("%w: a value of %d bytes", ErrDamaged, len(value))
	}
	if binary.BigEndian.Uint32(value) != checksum(stored, value) {
		return record{}, fmt.Errorf("%w: a value that doesn't match its checksum", ErrDamaged)
	}
	return record{
		session:  binary.BigEndian.Uint64(value[recordSession:]),
		absentAt: bucket.Micros(binary.BigEndian.Uint64(value[recordAbsentAt:])),
		encoded:  value[recordState:],
	}, nil
}

// state decodes the state.
func (r record) state(s *bucket.State) error {
	err := s.Decode(r.encoded)
	var newer *bucket.VersionError
	if err != nil && !errors.As(err, &newer) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

// newRecord is the value of a stored key.
func newRecord(stored []byte, session uint64, s *bucket.State) []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, recordSession, recordUsual), session)
	b = binary.BigEndian.AppendUint64(b, uint64(s.AbsentAt()))
	b = s.Encode(b)
	binary.BigEndian.PutUint32(b, checksum(stored, b))
	return b
}
