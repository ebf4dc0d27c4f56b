"""Small programs as XLA prints them, of which everything can be counted."""
# Lines are as long as XLA prints them.
# ruff: noqa: E501

# Three kernels; then five turns of two, in each of which a branch runs two of
# its own or none; then a loop whose turns are not known, of one kernel and one
# more to see whether it goes on; and a collective.
GPU = """HloModule jit_f, is_scheduled=true

%fused_add (p.0: f32[8], p.1: f32[8]) -> f32[8] {
  %p.0 = f32[8]{0} parameter(0)
  %p.1 = f32[8]{0} parameter(1)
  ROOT %add.0 = f32[8]{0} add(%p.0, %p.1)
}

%branch_true (b.0: f32[8]) -> f32[8] {
  %b.0 = f32[8]{0} parameter(0)
  %copy.1 = f32[8]{0} copy(%b.0)
  ROOT %fusion.9 = f32[8]{0} fusion(%copy.1, %b.0), kind=kLoop, calls=%fused_add
}

%branch_false (b.1: f32[8]) -> f32[8] {
  ROOT %b.1 = f32[8]{0} parameter(0)
}

%known_body (t.0: (s32[], f32[8])) -> (s32[], f32[8]) {
  %t.0 = (s32[], f32[8]{0}) parameter(0)
  %get.0 = s32[] get-tuple-element(%t.0), index=0
  %get.1 = f32[8]{0} get-tuple-element(%t.0), index=1
  %fusion.1 = s32[] fusion(%get.0), kind=kLoop, calls=%fused_add
  %fusion.2 = f32[8]{0} fusion(%get.1, %get.1), kind=kLoop, calls=%fused_add
  %is.0 = pred[] compare(%get.0, %get.0), direction=LT
  %cond.0 = f32[8]{0} conditional(%is.0, %fusion.2, %get.1), true_computation=%branch_true, false_computation=%branch_false
  ROOT %tuple.1 = (s32[], f32[8]{0}) tuple(%fusion.1, %cond.0)
}

%known_condition (t.1: (s32[], f32[8])) -> pred[] {
  %t.1 = (s32[], f32[8]{0}) parameter(0)
  %get.2 = s32[] get-tuple-element(%t.1), index=0
  ROOT %fusion.3 = pred[] fusion(%get.2), kind=kLoop, calls=%fused_add
}

%unknown_body (t.2: (s32[], /*index=1*/f32[8])) -> (s32[], f32[8]) {
  %t.2 = (s32[], /*index=1*/f32[8]{0}) parameter(0)
  %get.3 = s32[] get-tuple-element(%t.2), index=0
  %get.4 = f32[8]{0} get-tuple-element(%t.2), index=1
  %fusion.4 = f32[8]{0} fusion(%get.4, %get.4), kind=kLoop, calls=%fused_add
  ROOT %tuple.2 = (s32[], f32[8]{0}) tuple(%get.3, %fusion.4)
}

ENTRY %main (x: f32[8]) -> f32[8] {
  %x = f32[8]{0} parameter(0), metadata={op_name="x"}
  %zero = s32[] constant(0)
  %copy.0 = s32[] copy(%zero)
  %gemm.0 = (f32[8]{0}, s8[64]{0}) custom-call(%x, %x), custom_call_target="__cublas$gemm"
  %get.5 = f32[8]{0} get-tuple-element(%gemm.0), index=0
  %fusion.0 = f32[8]{0} fusion(%get.5, %x), kind=kLoop, calls=%fused_add
  %tuple.0 = (s32[], f32[8]{0}) tuple(%copy.0, %fusion.0)
  %while.0 = (s32[], f32[8]{0}) while(%tuple.0), condition=%known_condition, body=%known_body, metadata={op_name="jit(f)/prune/while"}, backend_config={"known_trip_count":{"n":"5"}}
  %while.1 = (s32[], f32[8]{0}) while(%while.0), condition=%known_condition, body=%unknown_body, metadata={op_name="jit(f)/while"}
  %get.6 = f32[8]{0} get-tuple-element(%while.1), index=1
  %all-reduce-start.0 = f32[8]{0} all-reduce-start(%get.6), replica_groups={{0,1}}, to_apply=%fused_add
  ROOT %all-reduce-done.0 = f32[8]{0} all-reduce-done(%all-reduce-start.0)
}
"""
# A loop that begins at 0 and compares with 10, of one operation; what is in
# memory space 1 lies closer by than main memory.
TPU = """HloModule jit_f, is_scheduled=true

%fused (p.0: f32[16,200]) -> f32[16,200] {
  %p.0 = f32[16,200]{1,0:T(8,128)S(1)} parameter(0)
  ROOT %neg.0 = f32[16,200]{1,0:T(8,128)} negate(%p.0)
}

%body (t.0: (s32[], f32[16,200])) -> (s32[], f32[16,200]) {
  %t.0 = (s32[]{:T(128)}, f32[16,200]{1,0:T(8,128)S(1)}) parameter(0)
  %get.0 = s32[]{:T(128)} get-tuple-element(%t.0), index=0
  %get.1 = f32[16,200]{1,0:T(8,128)S(1)} get-tuple-element(%t.0), index=1
  %allocated = f32[16,200]{1,0:T(8,128)S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %fusion.0 = f32[16,200]{1,0:T(8,128)} fusion(%get.1), kind=kLoop, calls=%fused
  ROOT %tuple.0 = (s32[]{:T(128)}, f32[16,200]{1,0:T(8,128)}) tuple(%get.0, %fusion.0)
}

%condition (t.1: (s32[], f32[16,200])) -> pred[] {
  %t.1 = (s32[]{:T(128)}, f32[16,200]{1,0:T(8,128)S(1)}) parameter(0)
  %ten = s32[]{:T(128)} constant(10)
  %get.2 = s32[]{:T(128)} get-tuple-element(%t.1), index=0
  ROOT %lt.0 = pred[]{:T(512)} compare(%get.2, %ten), direction=LT
}

ENTRY %main (x: f32[16,200]) -> (s32[], f32[16,200]) {
  %x = f32[16,200]{1,0:T(8,128)S(1)} parameter(0)
  %zero = s32[]{:T(128)} constant(BEGIN)
  %copied = s32[]{:T(128)} copy(%zero)
  %tuple.1 = (s32[]{:T(128)}, f32[16,200]{1,0:T(8,128)S(1)}) tuple(%copied, %x)
  ROOT %while.0 = (s32[]{:T(128)}, f32[16,200]{1,0:T(8,128)}) while(%tuple.1), condition=%condition, body=%body, metadata={op_name="jit(f)/shard_map/prune/while"}
}
"""
