/* A Python module whose functions are kernels that were compiled ahead of time.

   `kmq.build` writes table.h, which lists them, and links this file with their machine code. A call
   reads its arguments once, by the buffer protocol, finds the signature that they fit, and runs the
   kernel without the interpreter's lock. Python's limited interface is all that is used, so one
   library serves all versions of Python.

   Each parameter is described by a number: its kind, the bytes of a number, its dimensions. A tuple
   is followed by its members. */

#ifndef Py_GIL_DISABLED
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define MOST_PARAMETERS 96 /* of a kernel, members of tuples included */
#define MOST_WORDS 512     /* that they take: 5, and 2 for each dimension, of an array */

#define PARAMETER(kind, bytes, dimensions) \
    ((uint32_t)(unsigned char)(kind) << 16 | (uint32_t)(bytes) << 8 | (uint32_t)(dimensions))
#define KIND(parameter) ((char)((parameter) >> 16))
#define BYTES(parameter) ((parameter) >> 8 & 255)
#define DIMENSIONS(parameter) ((parameter) & 255)

typedef struct {
    const uint32_t *parameters; /* ended by 0 */
    int (*entry)(int64_t *words);
} Signature;

typedef struct {
    const char *name;
    Py_ssize_t n_arguments;
    int n_signatures;
    const Signature *signatures;
    const char *result; /* the kind of each member */
} Kernel;

#include "table.h"

typedef struct {
    int n_parameters, n_words, n_views;
    PyObject *numbers[MOST_PARAMETERS]; /* borrowed; NULL for arrays and tuples */
    uint32_t parameters[MOST_PARAMETERS];
    int first_words[MOST_PARAMETERS];
    Py_buffer views[MOST_PARAMETERS];
    int64_t words[MOST_WORDS];
} Call;

/* Return the kind of an array's numbers, or 0 if no kernel takes such an array. */
static char kind_of(const Py_buffer *view)
{
    const char *format = view->format ? view->format : "B";
    if (format[0] == '\0' || format[1] != '\0') /* a structure, or not this machine's byte order */
        return 0;
    if (view->ndim < 1 || (uintptr_t)view->buf % (uintptr_t)view->itemsize != 0)
        return 0;
    if (!PyBuffer_IsContiguous(view, 'C'))
        return 0;
    if (strchr("bhilqn", format[0]))
        return 'i';
    if (strchr("BHILQN", format[0]))
        return 'u';
    return format[0] == '?' ? 'b' : strchr("fd", format[0]) ? 'f' : 0;
}

static int read_array(Call *call, PyObject *argument)
{
    Py_buffer *view = &call->views[call->n_views];
    if (PyObject_GetBuffer(argument, view, PyBUF_FORMAT | PyBUF_STRIDES) < 0)
        return -1;
    call->n_views++;
    if (call->n_words + 5 + 2 * view->ndim > MOST_WORDS) {
        PyErr_SetString(PyExc_TypeError, "arguments with too many dimensions");
        return -1;
    }
    int64_t *words = &call->words[call->n_words];
    words[0] = words[1] = 0; /* its owners: only Numba's runtime would ask */
    words[2] = view->itemsize ? view->len / view->itemsize : 0;
    words[3] = view->itemsize;
    words[4] = (int64_t)(intptr_t)view->buf;
    for (int i = 0; i < view->ndim; i++) {
        words[5 + i] = view->shape[i];
        words[5 + view->ndim + i] = view->strides[i];
    }
    call->parameters[call->n_parameters++] = PARAMETER(kind_of(view), view->itemsize, view->ndim);
    call->n_words += 5 + 2 * view->ndim;
    return 0;
}

static int read_argument(Call *call, PyObject *argument)
{
    int at = call->n_parameters;
    if (at == MOST_PARAMETERS || call->n_words == MOST_WORDS) {
        PyErr_SetString(PyExc_TypeError, "too many arguments");
        return -1;
    }
    call->numbers[at] = NULL;
    call->first_words[at] = call->n_words;
    if (PyTuple_CheckExact(argument)) {
        Py_ssize_t size = PyTuple_Size(argument);
        call->parameters[call->n_parameters++] = PARAMETER('t', 0, size & 255);
        for (Py_ssize_t i = 0; i < size; i++)
            if (read_argument(call, PyTuple_GetItem(argument, i)) < 0)
                return -1;
        return 0;
    }
    /* NumPy's numbers have buffers, too; but what has no items to set is a number. */
    if (PyType_GetSlot(Py_TYPE(argument), Py_mp_ass_subscript) != NULL)
        return read_array(call, argument);
    call->numbers[at] = argument;
    call->parameters[call->n_parameters++] = PARAMETER('n', 0, 0);
    call->n_words++;
    return 0;
}

static int fits(const Call *call, const uint32_t *parameters)
{
    for (int i = 0; i < call->n_parameters; i++) {
        if (parameters[i] == 0)
            return 0;
        if (call->numbers[i] == NULL ? call->parameters[i] != parameters[i]
                                     : DIMENSIONS(parameters[i]) != 0 || KIND(parameters[i]) == 't')
            return 0;
    }
    return parameters[call->n_parameters] == 0;
}

/* Write the numbers as a signature has them; return -1 for what cannot be such a number. */
static int convert_numbers(Call *call, const uint32_t *parameters)
{
    for (int i = 0; i < call->n_parameters; i++) {
        PyObject *number = call->numbers[i];
        int64_t *word = &call->words[call->first_words[i]];
        if (number == NULL)
            continue;
        if (KIND(parameters[i]) == 'f') {
            double value = PyFloat_AsDouble(number);
            memcpy(word, &value, sizeof value);
        } else if (KIND(parameters[i]) == 'b') {
            *word = PyObject_IsTrue(number);
        } else { /* whatever __index__ gives, so that a float is an error */
            PyObject *whole = PyNumber_Index(number);
            if (whole == NULL)
                return -1;
            *word = (int64_t)PyLong_AsUnsignedLongLongMask(whole);
            Py_DECREF(whole);
        }
        if (PyErr_Occurred())
            return -1;
    }
    return 0;
}

static PyObject *member_of_result(char kind, int64_t word)
{
    double value;
    switch (kind) {
    case 'f':
        memcpy(&value, &word, sizeof value);
        return PyFloat_FromDouble(value);
    case 'u':
        return PyLong_FromUnsignedLongLong((uint64_t)word);
    case 'b':
        return PyBool_FromLong((long)word);
    default:
        return PyLong_FromLongLong(word);
    }
}

static PyObject *result_of(const char *kinds, const int64_t *words)
{
    Py_ssize_t size = (Py_ssize_t)strlen(kinds);
    if (size == 0)
        Py_RETURN_NONE;
    if (size == 1)
        return member_of_result(kinds[0], words[0]);
    PyObject *result = PyTuple_New(size);
    for (Py_ssize_t i = 0; result != NULL && i < size; i++) {
        PyObject *member = member_of_result(kinds[i], words[i]);
        if (member == NULL || PyTuple_SetItem(result, i, member) < 0)
            Py_CLEAR(result);
    }
    return result;
}

static PyObject *run(const Kernel *kernel, Call *call)
{
    for (int i = 0; i < kernel->n_signatures; i++) {
        const Signature *signature = &kernel->signatures[i];
        if (!fits(call, signature->parameters))
            continue;
        if (convert_numbers(call, signature->parameters) < 0)
            return NULL;
        PyThreadState *state = PyEval_SaveThread();
        int status = signature->entry(call->words);
        PyEval_RestoreThread(state);
        if (status == 0)
            return result_of(kernel->result, call->words);
        return PyErr_Format(PyExc_SystemError, "%s ended with status %d", kernel->name, status);
    }
    return PyErr_Format(PyExc_TypeError, "kmq.kernels.%s is not declared for these arguments",
                        kernel->name);
}

static PyObject *call_kernel(PyObject *capsule, PyObject *const *arguments, Py_ssize_t n_arguments)
{
    const Kernel *kernel = PyCapsule_GetPointer(capsule, NULL);
    if (kernel == NULL)
        return NULL;
    if (n_arguments != kernel->n_arguments)
        return PyErr_Format(PyExc_TypeError, "%s takes %zd arguments (%zd given)", kernel->name,
                            kernel->n_arguments, n_arguments);
    Call call;
    call.n_parameters = call.n_words = call.n_views = 0;
    PyObject *result = NULL;
    Py_ssize_t i = 0;
    while (i < n_arguments && read_argument(&call, arguments[i]) == 0)
        i++;
    if (i == n_arguments)
        result = run(kernel, &call);
    while (call.n_views > 0)
        PyBuffer_Release(&call.views[--call.n_views]);
    return result;
}

static PyMethodDef methods[N_KERNELS];

static PyObject *bind(PyObject *module, PyObject *name)
{
    const char *wanted = PyUnicode_AsUTF8AndSize(name, NULL);
    for (int i = 0; wanted != NULL && i < N_KERNELS; i++) {
        if (strcmp(kernels[i].name, wanted) != 0)
            continue;
        methods[i].ml_name = kernels[i].name;
        methods[i].ml_meth = (PyCFunction)(void (*)(void))call_kernel;
        methods[i].ml_flags = METH_FASTCALL;
        PyObject *capsule = PyCapsule_New((void *)&kernels[i], NULL, NULL);
        PyObject *function = capsule ? PyCFunction_NewEx(&methods[i], capsule, NULL) : NULL;
        Py_XDECREF(capsule);
        return function;
    }
    return wanted ? PyErr_Format(PyExc_AttributeError, "there is no kernel %s", wanted) : NULL;
}

static int runs_here(void)
{
#ifdef FITS
    __builtin_cpu_init();
    return FITS;
#else
    return 1;
#endif
}

static int fill_module(PyObject *module)
{
    if (!runs_here()) {
        PyErr_SetString(PyExc_ImportError, "this processor is not of the level " LEVEL);
        return -1;
    }
    if (PyModule_AddStringConstant(module, "level", LEVEL) < 0 ||
        PyModule_AddStringConstant(module, "sources", SOURCES) < 0 ||
        PyModule_AddStringConstant(module, "compiler", COMPILER) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "lane_bytes", LANE_BYTES);
}

static PyMethodDef module_methods[] = {
    {"bind", bind, METH_O, "Return the kernel of a name."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)fill_module},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "kernels",
    .m_doc = "Kernels that were compiled ahead of time.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

#define INIT_OF(name) PyInit__##name
#define INIT(name) INIT_OF(name)

PyMODINIT_FUNC INIT(MODULE_NAME)(void)
{
    return PyModuleDef_Init(&module_definition);
}
