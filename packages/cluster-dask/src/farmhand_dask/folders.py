class Proof:
    def __init__(self, folder):
        pass

    def remove(self):
        pass


def sees(proof):
    return False
