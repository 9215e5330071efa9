"""How Numba is kept from compiling what is compiled again: the functions that a kernel calls.

Numba optimises the module of every function, and turns it into machine code, before it links the module into those of
its callers, where all of that is done anew; of a kernel that is made of a hundred small functions this was two thirds
of the time to compile. Here the modules of all functions that are met while a kernel is compiled only wait to be linked
(`WaitingLibrary`): LLVM sees them first inside the kernel. Its code is as fast as before, for nothing of it came from
the earlier rounds but some inlining that it does itself.

No loop of a kernel that is written in vectors and tiles is unrolled (`BorrowingLibrary`).

And one thing for the code's own speed: the stack begins where a cache line does (`FunctionsLibrary`).

Nothing else changes. A function that somebody else wants to call by its address is finished then, in Numba's own way,
and on a Numba that is built otherwise than the ones known here kernels are compiled in Numba's own way. (What
bare arrays and `CalleeCompiler` need of Numba is not looked for beforehand: without it the package is not imported.)
"""

from __future__ import annotations

import contextlib
import functools
import gc
import re
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import binding as llvm
from numba.core import base, cgutils, codegen, compiler, config, event, types
from numba.core.compiler_machinery import AnalysisPass, PassManager, register_pass
from numba.core.typed_passes import NopythonRewrites, ParforPreLoweringPass
from numba.core.untyped_passes import InlineClosureLikes
from numba.parfors.parfor import Parfor

_PARTS_KNOWN = {
    codegen.JITCodeLibrary: (
        "_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals", "get_pointer_to_function",
        "enable_object_caching", "get_defined_functions", "add_ir_module", "add_llvm_module", "_optimize_functions",
    ),
    codegen.JITCPUCodegen: ("create_library", "set_env", "_pass_builder", "_function_pass_manager"),
    compiler.CompilerBase: ("_compile_core",),
    types.BaseFunction: ("get_call_type",),
    base: ("_has_loc",),
    event: ("install_timer",),
    base.BaseContext: ("get_abi_sizeof", "get_abi_alignment"),
    llvm: ("create_pass_builder", "create_pipeline_tuning_options"),
}  # fmt: skip
"""What the classes below replace or call."""

KNOWN = all(hasattr(owner, name) for owner, names in _PARTS_KNOWN.items() for name in names)
"""Whether this Numba is built as expected."""


class _NoEnvironment:
    """A code generator where code that was never generated gets no environment."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def set_env(self, name: str, environment: Any) -> None:
        """Leave it: as in a kernel that comes from the cache, the functions inside have none."""


class FunctionsLibrary(codegen.JITCodeLibrary):
    """Numba's, but LLVM's passes for single functions are set up for what is there, a fifth of what is mentioned."""

    def add_ir_module(self, ir_module: Any) -> None:
        """Link a module in, its functions with stacks that begin on a cache line (64 bytes).

        A vector that waits there would else lie in two lines, or not, as the stack of a process happens to begin: a
        step of 2-3-4-2 took up to a fifth longer. `nounwind` is true (Numba's errors are statuses that are returned),
        and there because llvmlite writes the alignment down only beside an attribute that has a name.
        """
        for function in ir_module.functions:
            if not function.is_declaration:
                function.attributes.alignstack = 64
                function.attributes.add("nounwind")
        super().add_ir_module(ir_module)

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout
        for function in ll_module.functions:
            if not function.is_declaration:
                passes, builder = self._codegen._function_pass_manager()
                with self._recorded_timings.record(f"Function passes on {function.name!r}", builder):
                    passes.run(function, builder)


class WaitingLibrary(FunctionsLibrary):
    """A function's code that waits, as LLVM's intermediate language, to be linked into a caller."""

    _waits = True

    @property
    def codegen(self) -> Any:
        """Numba's code generator, which gives an environment to finished code only."""
        return _NoEnvironment(self._codegen) if self._waits else self._codegen

    def _optimize_final_module(self) -> None:
        """Leave that to the callers."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """The address, and 0 if there is no such function; only one that there is needs machine code."""
        self._ensure_finalized()
        if self._waits and all(each.name != name for each in self.get_defined_functions()):
            return 0
        if self._waits:
            self._waits = False
            self._get_module_for_linking()  # a copy, before the code generator takes the module
            super()._optimize_final_module()
            super()._finalize_final_module()
        return int(super().get_pointer_to_function(name))


class KernelLibrary(FunctionsLibrary):
    """The code of a kernel, with all that it calls."""

    def _optimize_final_module(self) -> None:
        """Let no call of a function in `OUTLINED` be inlined; its name stands in LLVM's with its length before it."""
        marks = re.compile("|".join(rf"(?<!\d){len(name)}{name}(?![a-z_])" for name in sorted(OUTLINED)) or "(?!)")
        for function in self._final_module.functions:
            if marks.search(function.name):
                function.add_function_attribute("noinline")
        super()._optimize_final_module()


OUTLINED: set[str] = set()
"""The names of functions that are compiled once for all their calls: see `_jit.outlined_function`."""


class BorrowingLibrary(KernelLibrary):
    """The code of a kernel that makes no array: nothing in it counts references.

    Numba counts each view of an argument up and down again, with a fence, by a call: a quarter of the time of a step of
    64-64-10. The arguments live as long as the call, because its wrapper for Python holds them, which counts as before.
    """

    _wrapped = False

    def add_ir_module(self, ir_module: Any) -> None:
        """Link a module in; of the wrapper's, the functions that count keep their meaning under another name.

        What it does for a hundred arrays is done once a call: it is translated as it is, in a third of a second less.
        """
        if ir_module.name != "wrapper":
            super().add_ir_module(ir_module)
            return
        module = llvm.parse_assembly(cgutils.normalize_ir_text(str(ir_module)))
        _rename(module, "jitnet.wrapper.")
        module.name, module.data_layout = ir_module.name, self._codegen._data_layout
        for function in module.functions:
            if not function.is_declaration:
                function.add_function_attribute("noinline")
                function.add_function_attribute("optnone")
        module.verify()
        self._wrapped = True
        self._final_module.link_in(module)

    def _optimize_final_module(self) -> None:
        if self._wrapped:  # on a Numba whose wrapper has another name it would lose its meaning too
            _rename(self._final_module, "jitnet.borrowed.")
            self._final_module.link_in(llvm.parse_assembly(_BORROWED))  # takes the place of what was linked in already
            for name in _COUNTS:
                self._final_module.get_function(f"jitnet.borrowed.{name}").linkage = "internal"
        with _loops_stay(self._codegen):
            super()._optimize_final_module()


_COUNTS = ("NRT_incref", "NRT_decref")

_BORROWED = "\n".join(
    f"""
    declare void @{name}(ptr)
    define linkonce_odr void @jitnet.wrapper.{name}(ptr %array) {{ call void @{name}(ptr %array) ret void }}
    define void @jitnet.borrowed.{name}(ptr %array) alwaysinline {{ ret void }}
    """
    for name in _COUNTS
)


def _rename(module: Any, prefix: str) -> None:
    """Give the functions that count references another name."""
    for function in module.functions:
        if function.name in _COUNTS:
            function.name = prefix + function.name


_NOTHING = object()


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute for a while. To be used under Numba's compiler lock, which compiling holds."""
    before = vars(owner).get(name, _NOTHING)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if before is _NOTHING:
            delattr(owner, name)
        else:
            setattr(owner, name, before)


def _callees_wait(generator: Any) -> Any:
    """New libraries of this code generator wait."""
    return _replaced(generator, "create_library", lambda name, **options: WaitingLibrary(generator, name, **options))


def _loops_stay(generator: Any) -> Any:
    """No loop is unrolled: tiles are written as they should be computed.

    Unrolled, a step's code is half as long again: in float64 2-3-4-2 took 1.25 times as long, 4-32-16-4 1.04 (float32
    1.00 and 1.03; 64-64-10 0.98), and the first fit of 12.5 s took 2.3 s more.
    """

    def pass_builder(
        opt: int = config.OPT, loop_vectorize: bool = config.LOOP_VECTORIZE, slp_vectorize: bool = config.SLP_VECTORIZE
    ) -> Any:
        options = llvm.create_pipeline_tuning_options(speed_level=opt)
        options.loop_vectorization, options.slp_vectorization = loop_vectorize, slp_vectorize
        options.loop_unrolling = False
        return llvm.create_pass_builder(generator._tm, options)

    return _replaced(generator, "_pass_builder", pass_builder)


@contextlib.contextmanager
def _found_once() -> Iterator[None]:
    """Numba finds out anew at each `+` what a sum of two integers is: 6000 times, of which 300 are not the same.

    What is written in Python (an `overload`) is asked for each time: its code depends on flags too. The sizes of types,
    which LLVM is asked for at each variable, and the parameters of what generates code do not change either.
    """
    original, found = types.BaseFunction.get_call_type, {}

    def get_call_type(self: Any, context: Any, args: Any, kws: Any) -> Any:
        if kws or not isinstance(args, tuple):
            return original(self, context, args, kws)
        key = self, context, args
        if key not in found:
            signature = original(self, context, args, kws)
            if signature is None or self._impl_keys.get(signature.args) is not self.typing_key:
                return signature
            found[key] = signature
        return found[key]

    with contextlib.ExitStack() as stack:
        stack.enter_context(_replaced(types.BaseFunction, "get_call_type", get_call_type))
        for owner, name in (
            (base, "_has_loc"),
            (base.BaseContext, "get_abi_sizeof"),
            (base.BaseContext, "get_abi_alignment"),
        ):
            stack.enter_context(_replaced(owner, name, functools.cache(getattr(owner, name))))
        yield


def _callees_untimed() -> Any:
    """No timers for what a kernel calls: each would hear of every call of LLVM below it, 290,000 times in all."""
    return _replaced(event, "install_timer", lambda kind, callback: contextlib.nullcontext())


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Numba makes millions of objects that live on: looking through them for garbage is a tenth of the time."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        try:
            if not gc.get_freeze_count():  # nobody else keeps objects out of its sight
                gc.freeze()
                gc.unfreeze()  # the new objects count as old ones now, and are not looked through at once
        finally:
            gc.enable()


def apart(compile_types: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function of types, but that what it leaves behind does not know its caller.

    Numba keeps exceptions in circles; each knows the frames below which it came up, and these the arrays of whoever
    called the kernel, until all old objects are looked through for garbage. A generator's frame knows no caller once it
    has stopped.
    """

    def stopping(signature: Any) -> Iterator[Any]:
        yield compile_types(signature)

    return with_room(lambda signature: next(stopping(signature)))


def with_room(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function of one argument, with memory for the frames of all Python functions below it.

    CPython since 3.11 keeps frames in pieces of 16 KiB, and asks the system for the next one when a call does not fit.
    When that call returns, the piece is given back: a loop whose calls begin where one ends maps and unmaps memory each
    time. Numba has hundreds of frames below each other, and met so many of these ends that it did 240,000 times: 1.7 of
    the 10.6 seconds of a first fit. For a function that needs a stack of 1.1 MB the piece has 2 MB, and the frames
    below lie in the rest of it. What nobody touches is no memory.
    """

    def roomy(argument: Any) -> Any:
        return call(argument)

    roomy.__code__ = roomy.__code__.replace(co_stacksize=_STACK)
    return roomy


_STACK = 140_000
"""Of 8 bytes: a little more than half of 2 MiB."""


@register_pass(mutates_CFG=False, analysis_only=True)
class ParallelLoopsUnwrapped(AnalysisPass):
    """Numba makes the body of a `prange` callable from Python, which nobody does."""

    _name = "jitnet_parallel_loops_unwrapped"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Change the flags that the loops' bodies will be compiled with."""
        for block in state.func_ir.blocks.values():
            for loop in block.find_insts(Parfor):
                loop.flags = loop.flags.copy()
                loop.flags.no_cpython_wrapper = loop.flags.no_cfunc_wrapper = True
        return False


class CalleeCompiler(compiler.Compiler):
    """Numba's compiler for functions that kernels call, without two of its passes over what it makes of the source.

    One puts functions that are written inside of others in their places, the other makes one loop of an expression of
    arrays. There are none; to look for them took half a second.
    """

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes but these."""
        every = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes = PassManager(every.pipeline_name)
        passes.passes = [each for each in every.passes if each[0] not in (InlineClosureLikes, NopythonRewrites)]
        passes.finalize()
        return [passes]


class KernelCompiler(compiler.Compiler):
    """Numba's compiler, but what the kernel calls waits to be linked into it."""

    borrows = False

    def define_pipelines(self) -> list[Any]:
        """Numba's own passes, and `ParallelLoopsUnwrapped`."""
        if not KNOWN or not self.state.flags.auto_parallel.enabled:
            return super().define_pipelines()
        passes = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(ParallelLoopsUnwrapped, ParforPreLoweringPass)
        passes.finalize()
        return [passes]

    def _compile_core(self) -> Any:
        generator = self.state.targetctx.codegen()
        known = (
            KNOWN
            and isinstance(generator, codegen.JITCPUCodegen)
            and hasattr(generator, "_tm")
            and hasattr(generator, "_data_layout")
        )
        if not known or self.state.library is not None:
            return super()._compile_core()
        library = BorrowingLibrary if self.borrows else KernelLibrary
        self.state.library = library(generator, self.state.func_id.func_qualname)
        self.state.library.enable_object_caching()
        with _no_garbage_collection(), _found_once(), _callees_wait(generator), _callees_untimed():
            return super()._compile_core()


class BorrowingCompiler(KernelCompiler):
    """For a kernel that makes no array."""

    borrows = True
