package bucket

// Valid says whether every field of the operation that counts is in its range under the limits (nil for none): whether
// [State.Apply] would not answer Invalid. It is for drivers that apply operations elsewhere.
func (o *Op) Valid(l *Limits) bool {
	if l == nil {
		l = noLimits
	}
	return o.valid(l)
}
